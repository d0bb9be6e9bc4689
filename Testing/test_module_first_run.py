"""The first run: no PyTorch, no PyTorch extension, no internet; and the line that says what computes."""

import sys

import pytest
import slicer
from host import Host
from module_helpers import DEVICE, add_phantom, middle, paint_plane

STATUS = 6


@pytest.fixture
def packages(panel, monkeypatch):
    """Which Python packages the module believes are installed; may be changed."""
    from SparseSegModule import dependencies

    there = {"torch": "2.13.0+cpu"}
    there |= {requirement.split(">=")[0]: "99.0" for requirement in dependencies.PACKAGES}
    monkeypatch.setattr(dependencies, "installedVersion", there.get)
    return there


def _look_again(panel):
    panel.session.installation.look()


def _press_install(panel, monkeypatch, logic) -> None:
    """Press *Install* where the PyTorch extension is there, with ``logic`` as its PyTorchUtilsLogic."""
    from SparseSegModule import dependencies

    extension = type(sys)("PyTorchUtils")
    extension.PyTorchUtilsLogic = logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    monkeypatch.setattr(dependencies, "hasPyTorchExtension", lambda: True)
    _look_again(panel)
    panel.ui.installButton.click()


def test_without_torch_the_module_opens_and_says_what_to_press(panel, packages, monkeypatch):
    from SparseSegModule import dependencies

    monkeypatch.setattr(dependencies, "hasPyTorchExtension", lambda: True)
    packages["torch"] = None
    _look_again(panel)
    assert not panel.ui.setupFrame.isHidden()
    assert not panel.ui.installButton.isHidden()
    assert "PyTorch is missing" in panel.ui.setupLabel.text
    assert "Press Install" in panel.ui.setupLabel.text


def test_without_the_pytorch_extension_it_says_where_to_get_it(panel, packages, monkeypatch):
    from SparseSegModule import dependencies

    packages["torch"] = None
    monkeypatch.setattr(dependencies, "hasPyTorchExtension", lambda: False)
    _look_again(panel)
    assert "Extensions Manager" in panel.ui.setupLabel.text
    phantom, volume_node = add_phantom()
    panel.parameterNode.inputVolume = volume_node
    Host.instance().processEvents(0.05)
    paint_plane(panel.parameterNode.segmentation, volume_node, phantom.labels, middle(phantom.labels, 0))
    panel.ui.densifyButton.click()
    assert panel.session.rounds.handle is None
    ((kind, text),) = Host.instance().dialogs
    assert kind == "warning"
    assert "Extensions Manager" in text


def test_install_asks_pytorch_utils_and_goes_on(panel, packages, monkeypatch):
    asked = []

    class Logic:
        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
            asked.append((askConfirmation, torchVersionRequirement))
            packages["torch"] = "2.13.0"
            return sys

    packages["torch"] = None
    _press_install(panel, monkeypatch, Logic)
    assert asked == [(True, ">=2.10")]
    assert not panel.session.installation.missing.anything


@pytest.mark.parametrize(("version", "fits"), [("2.9.1", False), ("2.10.0", True), ("2.10.0.dev1+cu130", False)])
def test_a_pytorch_that_is_too_old_is_named_with_what_is_needed(panel, packages, monkeypatch, version, fits):
    from SparseSegModule import dependencies

    monkeypatch.setattr(dependencies, "hasPyTorchExtension", lambda: True)
    packages["torch"] = version
    _look_again(panel)
    assert panel.session.installation.missing.torch is not fits
    if not fits:
        assert f"PyTorch {version} is too old: 2.10 is needed at least" in panel.ui.setupLabel.text
    packages["torch"], packages["scikit-image"] = "2.10", "0.19"
    assert dependencies.findMissing().packages == ("scikit-image>=0.22",)


def test_a_second_press_starts_no_second_installation(panel, packages, monkeypatch):
    seen = []

    class Logic:
        def installTorch(self, **_options):
            seen.append((panel.ui.installButton.enabled, panel.ui.setupLabel.text))
            panel.session.installation.install()  # as from the event loop
            packages["torch"] = "2.13.0"
            return sys

    packages["torch"] = None
    _press_install(panel, monkeypatch, Logic)
    ((enabled, text),) = seen
    assert not enabled
    assert "Installing" in text
    assert panel.ui.installButton.enabled


def test_no_internet_is_said_and_nothing_breaks(panel, packages, monkeypatch):
    class Logic:
        def installTorch(self, **_options):
            raise RuntimeError("could not resolve host")

    packages["torch"] = None
    _press_install(panel, monkeypatch, Logic)
    ((kind, text),) = Host.instance().dialogs
    assert kind == "error"
    assert "internet" in text
    assert panel.session.installation.missing.torch


def test_other_packages_come_through_pip_ensure_or_in_older_slicers_pip_install(panel, packages, monkeypatch):
    host = Host.instance()
    packages["scikit-image"] = None
    _look_again(panel)
    assert "scikit-image" in panel.ui.setupLabel.text
    before = len(host.pipCalls)
    panel.ui.installButton.click()
    assert len(host.pipCalls) == before + 1
    assert "scikit-image" in str(host.pipCalls[-1])

    installed = []
    monkeypatch.delattr(slicer.packaging, "pip_ensure")
    monkeypatch.setattr(slicer.util, "pip_install", installed.append)
    panel.ui.installButton.click()
    assert installed == [["scikit-image>=0.22"]]
    assert "Install them now?" in host.dialogs[-1][1]


@pytest.mark.asks
def test_the_status_line_names_the_device_and_points_out_an_idle_gpu(panel, monkeypatch):
    from SparseSegModule import statusPart

    assert Host.instance().wait(lambda: "PyTorch" in panel.ui.statusLabel.text, 30)
    assert "CPU" in panel.ui.statusLabel.text
    monkeypatch.setattr(statusPart, "hasNvidiaCard", lambda: True)
    panel.parts[STATUS]._show(DEVICE)
    assert "<b>" in panel.ui.statusLabel.text
    assert "NVIDIA" in panel.ui.statusLabel.text


@pytest.mark.asks
def test_why_the_workers_python_could_not_be_asked_is_said(panel, tmp_path, monkeypatch):
    from SparseSegModule import statusPart

    host, label = Host.instance(), panel.ui.statusLabel
    assert host.wait(lambda: "PyTorch" in label.text, 30)
    (tmp_path / "SparseSegLib").mkdir()
    (tmp_path / "SparseSegLib" / "__init__.py").write_text("raise ImportError('a library is missing')")
    monkeypatch.setattr(statusPart, "addEngineToPath", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    panel.session.installation.look()
    assert host.wait(lambda: "could not be asked" in label.text, 30)
    assert label.text.endswith("could not be asked: ImportError: a library is missing")
