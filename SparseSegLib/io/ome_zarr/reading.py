"""OME-Zarr images, read in parts or whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.errors import DependencyError, FileError, SparseSegError
from SparseSegLib.files import PathLike, noting
from SparseSegLib.image import Box, Geometry
from SparseSegLib.io.declared import check_memory, no_memory
from SparseSegLib.io.ome_zarr.description import finest_level, image_at, labels_at
from SparseSegLib.io.ome_zarr.store import StoredArray, ZarrNode, check_array, read_node
from SparseSegLib.io.raw_parts import check_inside

_HINT = "Install SparseSeg with the extra zarr, or: pip install zarr."


@dataclass(frozen=True, eq=False)
class ZarrParts:
    """The finest resolution of an OME-Zarr image; see `VolumeParts`.

    Parameters
    ----------
    image : the group
    stored : the array's shape, chunks and type
    axes : what each of its axes is, of "t", "c", "z", "y" and "x"
    geometry : the grid
    array : the array of zarr
    """

    image: ZarrNode
    stored: StoredArray
    axes: tuple[str, ...]
    geometry: Geometry
    array: Any

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) voxels."""
        return self.geometry.shape

    @property
    def dtype(self) -> np.dtype:
        """The voxels' type."""
        return np.dtype(np.uint8) if self.stored.dtype == bool else self.stored.dtype

    @property
    def channels(self) -> int:
        """The number of channels."""
        return dict(zip(self.axes, self.stored.shape, strict=True)).get("c", 1)

    @property
    def chunks(self) -> tuple[int, int, int]:
        """(z, y, x) voxels of what is in one file."""
        along = dict(zip(self.axes, self.stored.chunks, strict=True))
        return along.get("z", 1), along["y"], along["x"]

    def read(self, box: Box) -> np.ndarray:
        """Return a part as (C, Z, Y, X); see `VolumeParts.read`. Chunks are read whole, and missing ones are 0."""
        check_inside(box, self.shape)
        wanted = {"t": slice(0, 1), "c": slice(0, self.channels), **dict(zip("zyx", box, strict=True))}
        place = tuple(wanted[axis] for axis in self.axes)
        self.stored.check_chunks(place)
        with _reading(self.image.path):
            part = np.asarray(self.array[place])
        order = [self.axes.index(axis) for axis in "tczyx" if axis in self.axes]
        sizes = (self.channels, *(axis.stop - axis.start for axis in box))
        return np.ascontiguousarray(part.transpose(order).reshape(sizes), self.dtype)


def open_zarr(path: PathLike, *, labels: bool = False) -> ZarrParts:
    """Return an OME-Zarr image for reading in parts: its finest resolution.

    Parameters
    ----------
    path : the image's folder, or one that holds it alone
    labels : the image of labels that an image holds is meant, if it holds any

    Raises
    ------
    FileError, VolumeError
        If something in it cannot be, or is not read; see `finest_level` and `check_array`.
    DependencyError
        If zarr is missing, or too old for version 3 of the format, which OME-Zarr 0.5 uses.
    """
    path = Path(path)
    image = labels_at(path) if labels else image_at(path)
    level = finest_level(image)
    node = read_node(level.path)
    stored = check_array(node)
    if len(stored.shape) != len(level.axes):
        raise FileError(f"The image {path} describes other axes than its array has.", "Export it again.")
    geometry = level.geometry(stored.shape)
    zarr = import_zarr()
    if node.version > newest_format(zarr):
        raise DependencyError(
            f"{path} is OME-Zarr 0.5, which needs zarr 3; zarr {zarr.__version__} is installed.",
            "Use Python 3.11 or newer and install zarr 3, or save it as OME-Zarr 0.4.",
        )
    with _reading(path):
        array = zarr.open_array(str(level.path), mode="r")
    return ZarrParts(image, stored, level.axes, geometry, array)


def read_zarr(path: PathLike, dtype: Any = None, *, labels: bool = False) -> tuple[np.ndarray, Geometry]:
    """Return an OME-Zarr image as (C, Z, Y, X), in its voxel type unless another is given, and its geometry."""
    parts = open_zarr(path, labels=labels)
    check_memory(Path(path), math.prod(parts.stored.shape) * parts.dtype.itemsize)
    z, y, x = (slice(0, size) for size in parts.shape)
    array = parts.read((z, y, x))
    return array.astype(dtype or array.dtype, copy=False), parts.geometry


def import_zarr() -> Any:
    """Return the package zarr; DependencyError if it is not installed."""
    try:
        import zarr
    except ImportError as error:
        raise DependencyError("OME-Zarr needs the package zarr.", _HINT) from error
    return zarr


def newest_format(zarr: Any) -> int:
    """Return the newest format of Zarr that the installed package knows, 2 or 3."""
    return 3 if int(zarr.__version__.split(".")[0]) >= 3 else 2


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what zarr and its decoders raise into errors for the user."""
    try:
        with noting(path):
            yield
    except SparseSegError:
        raise
    except MemoryError as error:
        raise no_memory(path) from error
    except OSError as error:
        raise FileError(f"The file {path} cannot be read: {error.strerror}.", "Copy it to another disk.") from error
    except Exception as error:  # whatever a damaged chunk makes the decoders say
        raise FileError(
            f"The image {path} is damaged: a chunk of it cannot be read.", "Copy or export it again."
        ) from error
