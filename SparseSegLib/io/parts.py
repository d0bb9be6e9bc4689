"""Volumes on disk that are read in parts: a region costs its own bytes, whatever the volume's size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from SparseSegLib.files import PathLike
from SparseSegLib.files.zarr_folder import is_zarr
from SparseSegLib.image import Box, Geometry, Volume
from SparseSegLib.io.files import is_tiff
from SparseSegLib.io.images import read_volume, volume_name
from SparseSegLib.io.itk import check_readable
from SparseSegLib.io.ome_zarr import open_zarr
from SparseSegLib.io.raw_parts import open_raw
from SparseSegLib.io.tiff import open_raw_tiff


class VolumeParts(Protocol):
    """A volume of which any part can be read.

    Attributes
    ----------
    shape : (z, y, x) voxels
    dtype : the voxels' type
    channels : their number
    geometry : the whole grid; that of a part is ``geometry.crop(box)``
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def channels(self) -> int: ...

    @property
    def geometry(self) -> Geometry: ...

    def read(self, box: Box) -> np.ndarray:
        """Return a part as (C, Z, Y, X), C being 1 for a single channel, in the voxels' type.

        Raises FileError if the file is damaged there, and GeometryError if the box reaches beyond the volume.
        """


def open_parts(path: PathLike) -> VolumeParts | None:
    """Return an image of which parts can be read, or None if its format, or how it is compressed, allows that not.

    OME-Zarr is read in parts, chunk by chunk; NRRD, MHA/MHD, NIfTI and TIFF where they are not compressed.

    Raises
    ------
    FileError, VolumeError
        As `read_volume` does, for what the header shows.
    """
    path = check_readable(path)
    if is_zarr(path):
        return open_zarr(path)
    if path.is_dir():
        return None
    return open_raw_tiff(path) if is_tiff(path) else open_raw(path)


def read_region(source: PathLike | Sequence[PathLike], box: Box, *, series_uid: str | Sequence[str] = "") -> Volume:
    """Return a part of what `read_volume` returns, in the voxels' own type; no more is read than the formats ask for.

    Parameters
    ----------
    source, series_uid : as for `read_volume`
    box : the part, in voxels of the (first) image

    Raises
    ------
    GeometryError
        If the box reaches beyond the volume.
    FileError, VolumeError, ResourceError
        As `read_volume` does; what is wrong outside of the box may go unnoticed.
    """
    paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    opened = [open_parts(path) for path in paths]
    parts = [one for one in opened if one is not None]
    if len(parts) < len(paths) or not parts or not all(are_channels(parts[0], one) for one in parts):
        return read_volume(source, series_uid=series_uid).crop(box)
    array = np.concatenate([one.read(box) for one in parts])
    return Volume(array, parts[0].geometry.crop(box), volume_name(paths[0]))


def are_channels(first: VolumeParts, other: VolumeParts) -> bool:
    """Return whether two images are channels of one volume as they are: on one grid, and no slices of it."""
    return other.shape[0] > 1 and other.geometry.matches(first.geometry)
