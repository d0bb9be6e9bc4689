"""TIFF stacks, written whole or slab by slab: ImageJ's layout, or OME-TIFF, which is BigTIFF above 4 GB."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.errors import FileError
from SparseSegLib.image import Geometry
from SparseSegLib.io.arrays import written_type
from SparseSegLib.io.tiff import import_tifffile

_MOST_FOR_IMAGEJ = 2**32 - 2**25  # above it is BigTIFF, which ImageJ's own layout is not
_FOR_IMAGEJ = (np.uint8, np.uint16, np.float32)


def write_tiff(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    """Write (C, Z, Y, X) as an ImageJ stack, or as OME-TIFF for what ImageJ lacks; the spacing is kept.

    Raises
    ------
    FileError
        If the geometry has a position or an orientation, which TIFF would lose, or the voxels are integers of 64 bits.
    """
    array = array.astype(written_type(array.dtype), copy=False)
    layout = _layout(path, geometry, array.dtype, len(array))
    stack = np.moveaxis(array, 0, 1) if len(array) > 1 else array[0]
    import_tifffile().imwrite(path, stack, **layout)


class TiffSlabs:
    """Writes a TIFF stack of one channel slab by slab.

    Parameters
    ----------
    path : the file
    geometry : the grid
    dtype : the voxels' type

    Raises
    ------
    FileError
        As `write_tiff` does.
    """

    def __init__(self, path: Path, geometry: Geometry, dtype: Any) -> None:
        dtype = written_type(dtype)
        layout = _layout(path, geometry, dtype, 1)
        tifffile = import_tifffile()
        tifffile.imwrite(path, shape=geometry.shape, dtype=dtype, **layout)  # as long as it will be, and empty
        with tifffile.TiffFile(path) as file:
            self._dtype, offset = dtype.newbyteorder(file.byteorder), file.series[0].dataoffset
        self._file = open(path, "r+b")  # noqa: SIM115 - until it is finished
        self._file.seek(offset)

    def write(self, slab: np.ndarray) -> None:
        """Write the next slices, (1, Z, Y, X)."""
        self._file.write(np.ascontiguousarray(slab, self._dtype).data)

    def finish(self) -> None:
        """Write what has not been yet."""
        self._file.flush()

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def _layout(path: Path, geometry: Geometry, dtype: np.dtype, channels: int) -> dict[str, Any]:
    """Return the layout of a stack as tifffile takes it: ImageJ's, or OME's for what ImageJ lacks."""
    if not geometry.matches(Geometry.identity(geometry.shape, geometry.spacing)):
        raise FileError(
            f"Cannot write {path}: TIFF has no place for the position and orientation of this volume.",
            "Choose .nrrd, which keeps them.",
        )
    if dtype.kind in "iu" and dtype.itemsize > 4:
        raise FileError(f"Cannot write {path}: OME-TIFF has no integers of 64 bits.", "Choose .nrrd, which has.")
    z, y, x = geometry.spacing
    metadata: dict[str, Any] = {"axes": "ZCYX" if channels > 1 else "ZYX"}
    small = channels * math.prod(geometry.shape) * dtype.itemsize < _MOST_FOR_IMAGEJ
    if small and dtype in _FOR_IMAGEJ:
        metadata |= {"spacing": z, "unit": "mm"}
        return {"imagej": True, "photometric": "minisblack", "resolution": (1 / x, 1 / y), "metadata": metadata}
    for axis, value in zip("XYZ", (x, y, z), strict=True):
        metadata |= {f"PhysicalSize{axis}": value, f"PhysicalSize{axis}Unit": "mm"}
    return {"ome": True, "bigtiff": not small, "photometric": "minisblack", "metadata": metadata}
