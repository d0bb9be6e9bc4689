"""One image file of any format: reading it as it is, and writing it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import FileError
from SparseSegLib.files import PathLike, atomic_path
from SparseSegLib.image import Geometry
from SparseSegLib.io.arrays import to_array
from SparseSegLib.io.headers import check_complete, check_kind, check_length, header_geometry, open_header
from SparseSegLib.io.itk import incomplete_write, reading, writing
from SparseSegLib.io.ome_zarr import has_zarr_name, write_zarr
from SparseSegLib.io.tiff import read_tiff
from SparseSegLib.io.tiff_writing import write_tiff
from SparseSegLib.io.writable import WRITABLE, check_kept, check_writable, is_tiff

__all__ = ["WRITABLE", "check_writable", "is_tiff", "read_file", "write_file"]


def read_file(path: PathLike, dtype: Any = None) -> tuple[np.ndarray, Geometry]:
    """Return a file's voxels as (C, Z, Y, X), in its voxel type unless another is given, and its geometry.

    A 2D image has Z = 1. Raises FileError for a missing, foreign or truncated file, and VolumeError for an RGB image
    or a time series.
    """
    if is_tiff(path):
        return read_tiff(path, dtype)
    reader = open_header(path)
    check_kind(reader)
    check_complete(reader)
    with reading(path):
        image = reader.Execute()
        while image.GetDimension() > 3:
            image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
        if image.GetDimension() == 2:
            image = sitk.JoinSeries(image)
        return to_array(image, dtype), Geometry.from_sitk(image)


def write_file(
    array: np.ndarray,
    geometry: Geometry,
    path: PathLike,
    metadata: dict[str, str] | None = None,
    *,
    compress: bool = True,
) -> None:
    """Write (Z, Y, X), or (C, Z, Y, X) for several channels, whole or not at all; see `write_image`.

    ``metadata`` are key-value pairs, which only NRRD and MHA keep.
    """
    path = check_writable(path, geometry)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if has_zarr_name(path):
        write_zarr(path, array, geometry)
        return
    with atomic_path(path) as temporary:
        if is_tiff(path):
            write_tiff(temporary, array if array.ndim == 4 else array[None], geometry)
            return
        image = geometry.to_sitk(array)
        for key, value in (metadata or {}).items():
            image.SetMetaData(key, value)
        with writing(path, array.nbytes):
            sitk.WriteImage(image, os.fspath(temporary), useCompression=compress)
        if temporary.is_file():
            _check_written(temporary, path, geometry, array.nbytes)


def _check_written(temporary: Path, path: Path, geometry: Geometry, size: int) -> None:
    """Look whether all voxels are there (ITK's NIfTI writer does not notice a full disk), and where they should be."""
    try:
        if temporary.name.endswith((".nii", ".nii.gz")):
            check_length(temporary, size)
        kept = header_geometry(open_header(temporary))
    except FileError as error:
        raise incomplete_write(path, size) from error
    check_kept(path, geometry, kept)
