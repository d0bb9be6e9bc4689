"""The version of PyTorch that is needed, and a check for it."""

from __future__ import annotations

import re

from SparseSegLib.errors import DependencyError

NEEDED = (2, 10)
HINT = "Install it with: pip install --upgrade torch (in 3D Slicer, with the PyTorch extension)."


def require_torch() -> None:
    """Check that PyTorch is there, and recent enough that a foreign file of weights can run no code.

    Raises
    ------
    DependencyError
        If it is missing or too old.
    """
    needed = ".".join(map(str, NEEDED))
    try:
        import torch
    except ImportError as error:
        raise DependencyError(f"PyTorch is not installed, and SparseSeg needs {needed} or later.", HINT) from error
    if is_too_old(str(torch.__version__)):
        raise DependencyError(
            f"PyTorch {torch.__version__} is installed, and SparseSeg needs {needed} or later: in older ones a file of "
            "weights could run code.",
            HINT,
        )


def is_too_old(version: str) -> bool:
    """Whether a version such as ``2.13.0+cpu`` is too old; one that nobody understands is not."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < NEEDED
