"""The size of a volume before its voxels are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk

from SparseSegLib.errors import FileError
from SparseSegLib.files import PathLike
from SparseSegLib.files.zarr_folder import is_zarr
from SparseSegLib.io.dicom import DicomSeries, check_stack, open_series
from SparseSegLib.io.files import is_tiff
from SparseSegLib.io.headers import check_kind, header_geometry, open_header
from SparseSegLib.io.itk import check_readable
from SparseSegLib.io.ome_zarr import open_zarr
from SparseSegLib.io.slices import slice_files
from SparseSegLib.io.tiff import tiff_layout


@dataclass(frozen=True)
class ImageInformation:
    """The header of an image.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x); a 2D image has z = 1.
    spacing : tuple of float
        (z, y, x) mm.
    channels : int
        The number of channels.
    voxel_type : str
        The name of the type in the file.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    channels: int
    voxel_type: str

    @property
    def memory(self) -> int:
        """Bytes of the volume once it is read: float32."""
        z, y, x = self.shape
        return 4 * self.channels * z * y * x


def read_information(path: PathLike, *, series_uid: str = "") -> ImageInformation:
    """Return what an image file, or a folder with a DICOM series or 2D slices, holds, without reading its voxels.

    Raises
    ------
    FileError
        If it is missing, foreign or has no header, or a DICOM series is not whole and even.
    VolumeError
        If it is an RGB image or a time series.
    """
    path = check_readable(path)
    if is_zarr(path):
        parts = open_zarr(path)
        return ImageInformation(parts.shape, parts.geometry.spacing, parts.channels, parts.dtype.name)
    series = open_series(path, series_uid)
    if series is not None:
        return _series_information(series)
    if not path.is_dir():
        return _file_information(path)
    files = slice_files(path)
    if not files:
        raise FileError(f"The folder {path} has no DICOM series and no slices.", "Choose a folder with images.")
    one = _file_information(files[0])
    _, y, x = one.spacing
    return replace(one, shape=(len(files), *one.shape[1:]), spacing=(x, y, x))


def _series_information(series: DicomSeries) -> ImageInformation:
    ordered = check_stack(series)
    return ImageInformation(ordered.geometry.shape, ordered.geometry.spacing, 1, ordered.frames[0].stored)


def _file_information(path: Path) -> ImageInformation:
    if is_tiff(path):
        (channels, *size), spacing, dtype = tiff_layout(path)
        return ImageInformation((size[0], size[1], size[2]), spacing, channels, dtype.name)
    reader = open_header(path)
    check_kind(reader)
    grid = header_geometry(reader)
    voxel_type = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    return ImageInformation(grid.shape, grid.spacing, reader.GetNumberOfComponents(), voxel_type)
