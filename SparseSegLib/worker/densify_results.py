"""The result of densify as files."""

from __future__ import annotations

from pathlib import Path

from SparseSegLib.densify import DensifyResult
from SparseSegLib.io import write_image, write_labels


def save_result(result: DensifyResult, dense: Path, uncertainty: Path | None) -> None:
    """Write the dense labels (with the names of the classes) and the uncertainty."""
    write_labels(result.labels, result.geometry, dense, result.segments())
    if uncertainty is not None and result.uncertainty is not None:
        write_image(result.uncertainty, result.geometry, uncertainty)
