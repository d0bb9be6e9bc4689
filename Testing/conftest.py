"""What all tests share."""

import os

import pytest

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
def panel(tmp_path, monkeypatch):
    """The module's panel on an empty scene, in the stand-in host: error boxes are recorded, the model library is empty.

    No slot may have raised an error in the end.
    """
    from host import Host
    from module_helpers import MODULE

    monkeypatch.setenv("SPARSESEG_MODELS", str(tmp_path / "models"))
    host = Host.instance()
    host.closeScene()
    host.testing = False
    host.errors.clear()
    host.dialogs.clear()
    host.answers.clear()
    loaded = host.loadModule(MODULE)
    loaded.enter()
    yield loaded.widget
    host.unloadModule("SparseSeg")
    host.closeScene()
    assert host.errors == []
