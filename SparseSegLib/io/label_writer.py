"""Labels, and other results of one channel, written slab by slab: never whole in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from SparseSegLib.errors import GeometryError
from SparseSegLib.files import PathLike, atomic_path
from SparseSegLib.files.replacing import atomic_folder
from SparseSegLib.image import Box, Geometry
from SparseSegLib.io.labels import check_segments
from SparseSegLib.io.ome_zarr import ZarrWriter, check_replaceable, has_zarr_name
from SparseSegLib.io.raw_parts import check_inside
from SparseSegLib.io.raw_slabs import RawSlabs
from SparseSegLib.io.segmentation import SegmentInfo
from SparseSegLib.io.tiff_writing import TiffSlabs
from SparseSegLib.io.writable import check_writable, is_tiff

_AT_ONCE = 1 << 24  # voxels of the background


class _Slabs(Protocol):
    def write(self, slab: np.ndarray) -> None:
        """Write the next slices, (1, Z, Y, X)."""

    def finish(self) -> None:
        """Write what has not been yet."""

    def close(self) -> None:
        """Let the file go, finished or not."""


def write_slabs(
    array: np.ndarray,
    geometry: Geometry,
    path: PathLike,
    segments: Sequence[SegmentInfo] | None = (),
    *,
    compress: bool = True,
) -> None:
    """Write labels, or another result, (Z, Y, X), as `LabelWriter` does, whose parameters these are.

    Unlike `write_labels` it takes next to no memory.
    """
    depth, height, width = array.shape
    slab = max(1, _AT_ONCE // (height * width))
    with LabelWriter(path, geometry, array.dtype, segments, compress=compress) as writer:
        for start in range(0, depth, slab):
            z = slice(start, min(start + slab, depth))
            writer.write((z, slice(0, height), slice(0, width)), array[z])


class LabelWriter:
    """Writes labels slab by slab, from the first slice to the last; what is left out is background, 0.

    The file is there, whole, after `close`, and replaces an older one then; where the writer is left with an
    exception, nothing stays behind::

        with LabelWriter("dense.seg.nrrd", geometry, segments=segments) as writer:
            for box in boxes:
                writer.write(box, labels)

    Parameters
    ----------
    path : path
        As for `write_labels`: the format is that of the suffix. .nrrd, .nii.gz and .zarr are compressed.
    geometry : Geometry
        The whole grid.
    dtype : numpy type
        In which the voxels are stored; uint8 by default, float32 for an uncertainty.
    segments : sequence of SegmentInfo, or None
        The segments, which NRRD and OME-Zarr keep. A .seg.nrrd needs them. None for integers that are no labels.
    compress : bool
        False leaves .nrrd uncompressed, so that parts of it can be read.

    Raises
    ------
    UsageError, FileError, ResourceError, DependencyError
        As `write_labels` does.
    """

    def __init__(
        self,
        path: PathLike,
        geometry: Geometry,
        dtype: Any = np.uint8,
        segments: Sequence[SegmentInfo] | None = (),
        *,
        compress: bool = True,
    ) -> None:
        self._path = check_writable(path, geometry)
        check_segments(path, segments or ())
        self._geometry = geometry
        self._dtype = np.dtype(dtype)
        self._next = 0
        self._stack = ExitStack()
        try:
            self._slabs = self._opened(segments, compress)
            self._stack.callback(self._slabs.close)
        except BaseException as error:
            self._abandon(error)
            raise

    def _opened(self, segments: Sequence[SegmentInfo] | None, compress: bool) -> _Slabs:
        if has_zarr_name(self._path):
            check_replaceable(self._path)
            folder = self._stack.enter_context(atomic_folder(self._path))
            named = segments if self._dtype.kind in "iu" else None
            return ZarrWriter(folder, self._geometry, self._dtype, segments=named)
        file = self._stack.enter_context(atomic_path(self._path))
        if is_tiff(self._path):
            return TiffSlabs(file, self._geometry, self._dtype)
        return RawSlabs(file, self._geometry, self._dtype, segments or (), compress=compress)

    def write(self, box: Box, labels: np.ndarray) -> None:
        """Write the labels (Z, Y, X) of a box that begins where the last one ended along z, or further on.

        Raises
        ------
        GeometryError
            If the box does not: slabs are written in order.
        ResourceError, FileError
            If the disk is full or cannot be written to.
        """
        check_inside(box, self._geometry.shape)
        z, y, x = box
        if z.start < self._next:
            raise GeometryError("Slabs are written in order, from the first slice to the last.")
        self._skip_to(z.start)
        slab = labels
        if slab.shape[1:] != self._geometry.shape[1:]:
            slab = np.zeros((len(labels), *self._geometry.shape[1:]), self._dtype)
            slab[:, y, x] = labels
        self._add(slab)

    def close(self) -> None:
        """Write what is left of the background, and put the file in its place; raises as `write` does."""
        try:
            self._skip_to(self._geometry.shape[0])
            self._slabs.finish()
        except BaseException as error:
            self._abandon(error)
            raise
        self._stack.close()

    def __enter__(self) -> LabelWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._abandon(error)

    def _skip_to(self, end: int) -> None:
        """Write background up to a slice."""
        _, y, x = self._geometry.shape
        while self._next < end:
            self._add(np.zeros((min(end - self._next, max(1, _AT_ONCE // (y * x))), y, x), self._dtype))

    def _add(self, slab: np.ndarray) -> None:
        self._slabs.write(slab[None])
        self._next += len(slab)

    def _abandon(self, error: BaseException) -> None:
        """Take away what has been written; an error of the system is raised in words."""
        self._stack.__exit__(type(error), error, error.__traceback__)
