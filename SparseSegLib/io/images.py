"""Reading volumes, whatever they are stored in, and writing images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.errors import FileError, GeometryError, ResourceError, VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.files.zarr_folder import is_zarr
from SparseSegLib.image import Geometry, Volume, check_has_depth, resample
from SparseSegLib.io.declared import no_memory
from SparseSegLib.io.dicom import open_series, read_series, series_of_files
from SparseSegLib.io.files import is_tiff, read_file, write_file
from SparseSegLib.io.information import read_information
from SparseSegLib.io.itk import check_readable
from SparseSegLib.io.ome_zarr import read_zarr
from SparseSegLib.io.slices import read_slices, slice_files

_SUFFIXES = (".seg.nrrd", ".nii.gz", ".ome.tif", ".ome.tiff", ".ome.zarr", ".zarr")


def read_volume(source: PathLike | Sequence[PathLike], *, series_uid: str | Sequence[str] = "") -> Volume:
    """Read an image with its geometry.

    Parameters
    ----------
    source : path or list of paths
        A file (NRRD, NIfTI, MHA/MHD, TIFF stack, multi-frame DICOM); a folder of OME-Zarr, with a DICOM series or
        with 2D slices; several paths of volumes, which become channels, each resampled (linear) to the first one's
        grid; or several 2D images, which become the slices of one volume in the order given.
    series_uid : str or list of str
        Which DICOM series of the folder to read, needed if it has several; a list has one for each path, "" for none.

    Returns
    -------
    Volume
        (C, Z, Y, X) float32; CT from DICOM in HU. Voxels of a further channel outside its field of view get that
        channel's lowest value.

    Raises
    ------
    FileError
        If a file is missing, foreign, truncated, or a DICOM series is not whole and even.
    VolumeError
        If the image is 2D, RGB or a time series.
    ResourceError
        If it does not fit into memory.
    """
    paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not paths:
        raise FileError("No image was given.", "Choose a volume.")
    name = volume_name(paths[0])
    uids = [series_uid] * len(paths) if isinstance(series_uid, str) else [*series_uid, *[""] * len(paths)]
    try:
        if len(paths) > 1 and all(_is_2d(path) for path in paths):
            array, geometry = _read_2d_files(paths)
        else:
            array, geometry = _read_channels(paths, uids)
    except (MemoryError, ResourceError) as error:
        raise no_memory(paths[0], len(paths) * read_information(paths[0], series_uid=uids[0]).memory) from error
    return Volume(array, geometry, name)


def _is_2d(path: PathLike) -> bool:
    check_readable(path)
    return not Path(path).is_dir() and read_information(path).shape[0] == 1


def _read_2d_files(paths: Sequence[PathLike]) -> tuple[np.ndarray, Geometry]:
    series = None if any(is_tiff(path) for path in paths) else series_of_files(paths)
    return read_slices(paths, np.float32) if series is None else read_series(series, np.float32)


def _read_channels(paths: Sequence[PathLike], uids: Sequence[str]) -> tuple[np.ndarray, Geometry]:
    array, geometry = read_any(paths[0], np.float32, series_uid=uids[0])
    _check_depth(paths[0], array, geometry)
    channels = [array]
    for path, uid in zip(paths[1:], uids[1:], strict=False):
        further, grid = read_any(path, np.float32, series_uid=uid)
        _check_depth(path, further, grid)
        _check_overlap(paths[0], geometry, path, grid)
        channels.append(np.stack([resample(c, grid, geometry, fill=float(np.nanmin(c))) for c in further]))
    return (array if len(channels) == 1 else np.concatenate(channels)), geometry


def _check_depth(path: PathLike, array: np.ndarray, geometry: Geometry) -> None:
    if geometry.shape[0] == 1 and len(array) > 1:
        raise VolumeError(
            f"The image {path} is a 2D image of {len(array)} channels.",
            f"If these are slices, say so in the file: in ImageJ, Image > Properties, channels 1, slices {len(array)}.",
        )
    check_has_depth(geometry, f"The image {path}")


def _check_overlap(first: PathLike, geometry: Geometry, path: PathLike, grid: Geometry) -> None:
    corners = np.array(np.meshgrid(*((0, n - 1) for n in grid.shape))).reshape(3, -1).T
    inside = geometry.physical_to_index(grid.index_to_physical(corners))
    if (inside.max(axis=0) < 0).any() or (inside.min(axis=0) > np.array(geometry.shape) - 1).any():
        raise GeometryError(
            f"The images {first} and {path} do not overlap in space.",
            "Choose channels of the same scan, or register them.",
        )


def read_any(path: PathLike, dtype: Any = None, *, series_uid: str = "") -> tuple[np.ndarray, Geometry]:
    """Return a file or folder as (C, Z, Y, X), in its voxel type unless another is given, and its geometry."""
    path = check_readable(path)
    if is_zarr(path):
        return read_zarr(path, dtype)
    series = open_series(path, series_uid)
    if series is not None:
        return read_series(series, dtype)
    if not path.is_dir():
        return read_file(path, dtype)
    files = slice_files(path)
    if not files:
        raise FileError(
            f"The folder {path} has no DICOM series and no slices.",
            "Choose the folder that holds the image files themselves, or a file.",
        )
    return read_slices(files, dtype)


def volume_name(path: PathLike) -> str:
    """Return a file's name without the suffixes of image formats; of a link its own name, not its target's.

    What of it is not in UTF-8 becomes a question mark.
    """
    name = os.path.basename(os.path.abspath(path)).encode("utf-8", "replace").decode()
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name if os.path.isdir(path) else Path(name).stem


def write_image(array: np.ndarray, geometry: Geometry, path: PathLike, *, compress: bool = True) -> None:
    """Write an image, whole or not at all, in the format of the suffix.

    Parameters
    ----------
    array : np.ndarray
        (Z, Y, X), or (C, Z, Y, X) for several channels; its type is kept (bool becomes uint8, float16 float32).
    geometry : Geometry
        Its grid; TIFF keeps the spacing alone and refuses volumes that have a position or orientation, OME-Zarr those
        that have an orientation.
    path : path
        .nrrd, .nii, .nii.gz, .mha, .tif, .tiff or .zarr; an existing file is replaced.
    compress : bool
        As far as the format can; without it writing and reading take a fraction of the time.

    Raises
    ------
    UsageError
        If the suffix is none of these.
    FileError, ResourceError
        If the file cannot be written, or the disk is full; an existing file is left as it was.
    """
    write_file(array, geometry, path, compress=compress)
