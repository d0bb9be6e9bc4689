"""Large volumes that stay on the disk: voxels are read where they are looked at."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import product
from threading import Lock
from typing import Any, cast

import numpy as np

from SparseSegLib.files import PathLike
from SparseSegLib.image import Box, Volume, check_has_depth
from SparseSegLib.image.large_array import new_array
from SparseSegLib.io.images import read_any, read_volume, volume_name
from SparseSegLib.io.information import read_information
from SparseSegLib.io.ome_zarr import ZarrParts
from SparseSegLib.io.parts import VolumeParts, are_channels, open_parts
from SparseSegLib.io.raw_parts import RawParts

LARGE_VOXELS = 64_000_000
"""Voxels of a channel from which on a volume stays on the disk."""


def open_volume(source: PathLike | Sequence[PathLike], *, series_uid: str | Sequence[str] = "") -> Volume:
    """Return what `read_volume` returns; a large volume stays on the disk, and is read where it is looked at.

    Its voxels have the file's type then. So it is where parts of the files can be read (see `open_parts`), in one file
    or with each channel in its own. Chunks of OME-Zarr are unpacked once, into a file for the time being. Other large
    volumes are read whole, in their own type.

    Raises as `read_volume` does; what is wrong in a part is said when that is read.
    """
    paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    uids = [series_uid] if isinstance(series_uid, str) else list(series_uid)
    if not paths or math.prod(read_information(paths[0], series_uid=uids[0] if uids else "").shape) < LARGE_VOXELS:
        return read_volume(source, series_uid=series_uid)
    opened = [open_parts(path) for path in paths]
    parts = [one for one in opened if one is not None]
    name = volume_name(paths[0])
    if len(parts) == len(paths) and all(are_channels(parts[0], one) for one in parts):
        return Volume(cast(np.ndarray, OnDisk(parts)), parts[0].geometry, name)
    if len(paths) > 1:
        return read_volume(source, series_uid=series_uid)
    array, geometry = read_any(paths[0], series_uid=uids[0] if uids else "")
    check_has_depth(geometry, f"The image {paths[0]}")
    return Volume(array, geometry, name)


class OnDisk:
    """The voxels (C, Z, Y, X) of images on one grid, the channels: ``[:, z, y, x]`` reads a box of them.

    Parameters
    ----------
    images : the images; they share the grid

    Attributes
    ----------
    shape : (C, Z, Y, X)
    ndim : 4
    """

    ndim = 4

    def __init__(self, images: Sequence[VolumeParts]) -> None:
        self._images = images
        self._voxels = [_voxels(image) for image in images]
        self.shape = (sum(image.channels for image in images), *images[0].shape)

    def __getitem__(self, place: tuple[slice, slice, slice, slice]) -> np.ndarray:
        found = [voxels[place] for voxels in self._voxels]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:, :, :, :], dtype)

    def __reduce__(self) -> tuple[type[OnDisk], tuple[Sequence[VolumeParts]]]:
        return OnDisk, (self._images,)


def _voxels(image: VolumeParts) -> Any:
    """Return something of which ``[:, z, y, x]`` is a box of an image."""
    mapped = image.mapped() if isinstance(image, RawParts) else None
    return _Unpacked(image) if mapped is None else mapped


class _Unpacked:
    """The voxels of an image, chunks of which are unpacked when they are first needed, and kept."""

    def __init__(self, image: VolumeParts) -> None:
        self._image = image
        self._values = new_array((image.channels, *image.shape), image.dtype)
        own = image.chunks if isinstance(image, ZarrParts) else (1, *image.shape[1:])
        self._sides = [min(side, size) for side, size in zip(own, image.shape, strict=True)]
        counts = [-(-size // side) for size, side in zip(image.shape, self._sides, strict=True)]
        self._known = np.zeros(counts, bool)
        self._lock = Lock()

    def __getitem__(self, place: tuple[slice, slice, slice, slice]) -> np.ndarray:
        box = tuple(slice(*side.indices(size)) for side, size in zip(place[1:], self._image.shape, strict=True))
        blocks = [range(side.start // step, -(-side.stop // step)) for side, step in zip(box, self._sides, strict=True)]
        with self._lock:  # experts train side by side
            for block in product(*blocks):
                if not self._known[block]:
                    self._unpack(block)
        return self._values[(slice(None), *box)]

    def _unpack(self, block: tuple[int, ...]) -> None:
        z, y, x = (
            slice(number * side, min(size, (number + 1) * side))
            for number, side, size in zip(block, self._sides, self._image.shape, strict=True)
        )
        box: Box = (z, y, x)
        self._values[(slice(None), *box)] = self._image.read(box)
        self._known[block] = True
