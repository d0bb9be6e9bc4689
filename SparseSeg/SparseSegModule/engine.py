"""The path of the engine ``SparseSegLib``, and the Python that runs its worker."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

_MODULE_FOLDER = Path(__file__).resolve().parents[1]


def addEngineToPath() -> Path:
    """Make ``SparseSegLib`` importable and return the folder that contains it.

    Installed, it lies beside the module file; in a checkout, beside the module's folder.
    """
    for folder in (_MODULE_FOLDER, _MODULE_FOLDER.parent):
        if (folder / "SparseSegLib" / "__init__.py").is_file():
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
            return folder
    raise ModuleNotFoundError("SparseSegLib is not beside the SparseSeg module: reinstall the extension.")


def pythonExecutable() -> str:
    """The Python interpreter for worker processes: Slicer's own, by its launcher PythonSlicer."""
    return shutil.which("PythonSlicer") or sys.executable


def forgetLoadedParts() -> None:
    """Drop the loaded modules of this extension, so that reloading the module reloads all of it."""
    parts = ("SparseSegModule", "SparseSegEffect", "SparseSegLib")
    for name in [name for name in sys.modules if name.split(".")[0] in parts]:
        del sys.modules[name]
