"""The result of densify as files."""

from __future__ import annotations

from pathlib import Path

from SparseSegLib.densify import DensifyResult
from SparseSegLib.image.large_array import is_large
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.io.label_writer import write_slabs


def save_result(result: DensifyResult, dense: Path, uncertainty: Path | None) -> None:
    """Write the dense labels (with the names of the classes) and the uncertainty; large ones slab by slab."""
    in_slabs = is_large(result.labels)
    (write_slabs if in_slabs else write_labels)(result.labels, result.geometry, dense, result.segments())
    if uncertainty is None or result.uncertainty is None:
        return
    if in_slabs:
        write_slabs(result.uncertainty, result.geometry, uncertainty, None)
    else:
        write_image(result.uncertainty, result.geometry, uncertainty)


def save_preview(result: DensifyResult, path: Path) -> None:
    """Write the labels alone, uncompressed."""
    if is_large(result.labels):
        write_slabs(result.labels, result.geometry, path, None, compress=False)
    else:
        write_image(result.labels, result.geometry, path, compress=False)
