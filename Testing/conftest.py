"""What all tests share."""

import os
from dataclasses import replace

import pytest
from filelock import FileLock
from hypothesis import settings

settings.register_profile("sparseseg", deadline=None, derandomize=True)  # cores are shared
settings.register_profile("random", deadline=None, database=None, print_blob=True)  # other examples every run
settings.load_profile(os.environ.get("SPARSESEG_EXAMPLES", "sparseseg"))
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # before torch is imported: tests share two cores with workers
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
NEED_HOST = ["test_host*.py", "test_module*.py"]


def _why_no_host() -> str:
    """Why the stand-in host cannot run here, or an empty string."""
    try:
        import slicer  # noqa: F401
        import trame_slicer  # noqa: F401
        from PySide6 import QtUiTools, QtWidgets  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


NO_HOST = _why_no_host()
if NO_HOST and os.environ.get("SPARSESEG_NEED_HOST"):
    raise pytest.UsageError(f"The stand-in host cannot run: {NO_HOST}")
collect_ignore_glob = NEED_HOST if NO_HOST else []


def pytest_report_header() -> str:
    """Say at the top when the Slicer module's tests are left out."""
    return f"NOT TESTED, the Slicer module: {NO_HOST}" if NO_HOST else "stand-in host: yes"


@pytest.fixture
def workers(monkeypatch):
    """The module's workers are forked, so that each job takes seconds less; a test file may say otherwise."""
    from forked import fork_worker, launch_with

    launch_with(fork_worker, monkeypatch)


@pytest.fixture
def panel(tmp_path, monkeypatch, workers, request):
    """The module's panel on an empty scene, in the stand-in host: error boxes are recorded, the model library is empty.

    No worker is prepared ahead, and the worker's Python is not asked what it computes on, unless a test is marked so.
    No slot may have raised an error in the end.
    """
    from host import Host
    from module_helpers import DEVICE, MODULE

    monkeypatch.setenv("SPARSESEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("SparseSegLib.models.library.shipped_folders", tuple)
    host = Host.instance()
    host.closeScene()
    host.testing = False
    host.errors.clear()
    host.dialogs.clear()
    host.answers.clear()
    if request.node.get_closest_marker("prepares") is None:
        monkeypatch.setattr("SparseSegModule.learner.Learner.prepare", lambda self, learning, options: None)
    if request.node.get_closest_marker("asks") is None:
        monkeypatch.setattr("SparseSegModule.statusPart._askWorker", lambda: DEVICE)
    loaded = host.loadModule(MODULE)
    loaded.enter()
    yield loaded.widget
    host.unloadModule("SparseSeg")
    host.closeScene()
    assert host.errors == []


@pytest.fixture
def host():
    """The stand-in host with an empty scene and nothing recorded."""
    from host import Host

    host = Host.instance()
    host.closeScene()
    host.dialogs.clear()
    host.answers.clear()
    host.errors.clear()
    yield host
    host.testing = True


@pytest.fixture
def slicer(host):
    """Slicer's package, in the stand-in host."""
    import slicer

    return slicer


@pytest.fixture
def qt(host):
    """The stand-in for PythonQt's module."""
    import qt

    return qt


@pytest.fixture
def demo(tmp_path):
    """A module's folder, with a parameter named in its .ui file."""

    from host_helpers import MODULE, UI

    def write(parameter="enabled"):
        (tmp_path / "Resources/UI").mkdir(parents=True, exist_ok=True)
        (tmp_path / "Resources/UI/Demo.ui").write_text(UI.replace("PARAMETER", parameter))
        (tmp_path / "Demo.py").write_text(MODULE)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def dataset():
    """Two annotated phantoms of a bright blob, at 1 mm."""
    from cohort_helpers import make_case

    from SparseSegLib.cohort import make_dataset, make_example

    return make_dataset([make_example(make_case(seed), (1.0, 1.0, 1.0)) for seed in range(2)], (1.0, 1.0, 1.0))


@pytest.fixture(scope="session")
def bundle(dataset, tmp_path_factory):
    """A trained model of a bright blob, at 1 mm; all processes of a run share it."""
    from cohort_helpers import CARD, QUICK

    from SparseSegLib.cohort import train
    from SparseSegLib.models import save_bundle

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "Blob ü"
    with FileLock(folder / "bundle.lock"):
        if not path.exists():
            model = train(dataset, replace(QUICK, budget_steps=100, patch=(20, 24, 24)))
            save_bundle(path, replace(CARD, arguments=model.arguments, window=model.window), model.weights)
    return path


@pytest.fixture
def study(tmp_path):
    """A folder ``images`` and a folder ``labels``, two cases each, under a name with blanks and umlauts."""
    from cohort_helpers import make_case

    from SparseSegLib.annotation import write_sparse_labels
    from SparseSegLib.io import write_image

    folder = tmp_path / "Studie ü 日本"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for seed in range(2):
        case = make_case(seed)
        write_image(case.volume.array, case.volume.geometry, folder / "images" / f"p{seed}.nii.gz")
        write_sparse_labels(case.labels, folder / "labels" / f"p{seed}.seg.nrrd")
    return folder
