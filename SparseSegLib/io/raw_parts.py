"""Voxels that lie uncompressed in a file, read in parts."""

from __future__ import annotations

from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import FileError, GeometryError
from SparseSegLib.image import Box, Geometry
from SparseSegLib.io.arrays import to_array
from SparseSegLib.io.declared import truncated
from SparseSegLib.io.detect import META, NRRD, ImageFormat, image_format
from SparseSegLib.io.headers import check_kind, declared_voxels, header_geometry, open_header
from SparseSegLib.io.nrrd_header import read_nrrd_header


@dataclass(frozen=True, eq=False)
class RawParts:
    """A volume whose slices lie uncompressed in a file; see `VolumeParts`.

    Parameters
    ----------
    path : the file with the voxels
    stored : their type, with the file's byte order
    offsets : (C, Z) bytes before each slice of each channel; one row where channels are interleaved
    geometry : the grid
    components : how many channels lie side by side in each voxel
    """

    path: Path
    stored: np.dtype
    offsets: np.ndarray
    geometry: Geometry
    components: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) voxels."""
        return self.geometry.shape

    @property
    def dtype(self) -> np.dtype:
        """The voxels' type, in the machine's byte order."""
        return self.stored.newbyteorder("=")

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.offsets) * self.components

    def read(self, box: Box) -> np.ndarray:
        """Return a part as (C, Z, Y, X); see `VolumeParts.read`."""
        check_inside(box, self.shape)
        z, y, x = box
        width = self.components * (x.stop - x.start)
        values = np.empty((len(self.offsets), z.stop - z.start, y.stop - y.start, width), self.stored)
        try:
            with open(self.path, "rb", buffering=0) as file:
                for layer, offsets in zip(values, self.offsets, strict=True):
                    for part, offset in zip(layer, offsets[z], strict=True):
                        self._fill(file, part, int(offset), y.start, x.start)
        except OSError as error:
            raise FileError(
                f"The file {self.path} cannot be read: {error.strerror}.", "Copy it to another disk."
            ) from error
        separate = values.reshape(*values.shape[:3], x.stop - x.start, self.components)
        channels = np.moveaxis(separate, -1, 1).reshape(self.channels, *separate.shape[1:4])
        return np.ascontiguousarray(channels, self.dtype)

    def mapped(self) -> np.ndarray | None:
        """Return all of it as (C, Z, Y, X), which the system reads where it is looked at, in the file's byte order.

        None where the slices do not follow each other evenly. Raises FileError as `read` does.
        """
        voxel = self.components * self.stored.itemsize
        row, size = self.shape[2] * voxel, self.shape[1] * self.shape[2] * voxel
        steps = [np.unique(np.diff(self.offsets, axis=axis)).tolist() or [size] for axis in (0, 1)]
        if any(len(found) > 1 or found[0] < 0 for found in steps):
            return None
        try:
            file = np.memmap(self.path, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise FileError(f"The file {self.path} cannot be read: {error}.", "Copy it to another disk.") from error
        if int(self.offsets.max()) + size > len(file):
            raise truncated(self.path)
        values = np.ndarray(
            (len(self.offsets), *self.shape, self.components),
            self.stored,
            file,
            int(self.offsets[0, 0]),
            (steps[0][0], steps[1][0], row, voxel, self.stored.itemsize),
        )
        return np.moveaxis(values[0], -1, 0) if self.components > 1 else values[..., 0]

    def _fill(self, file: FileIO, part: np.ndarray, slice_offset: int, first_row: int, first_column: int) -> None:
        """Read a part of one slice, (rows, values): at once where its rows are whole ones, else row by row."""
        voxel = self.components * self.stored.itemsize
        row = self.shape[2] * voxel
        start = slice_offset + first_row * row + first_column * voxel
        pieces = [part] if part[0].nbytes == row else list(part)
        for number, piece in enumerate(pieces):
            file.seek(start + number * row)
            waiting = piece.view(np.uint8).data.cast("B")
            while waiting:
                count = file.readinto(waiting)
                if not count:
                    raise truncated(self.path)
                waiting = waiting[count:]


def check_inside(box: Box, shape: tuple[int, int, int]) -> None:
    """Raise GeometryError if a box is empty or reaches beyond a volume."""
    if any(not 0 <= part.start < part.stop <= size for part, size in zip(box, shape, strict=True)):
        raise GeometryError("The box is empty, or reaches beyond the volume.")


def open_raw(path: Path) -> RawParts | None:
    """Return an NRRD, MHA/MHD or NIfTI file for reading in parts, or None if it is compressed or another format."""
    reader = open_header(path)
    check_kind(reader)
    known = image_format(path)
    voxels = declared_voxels(path, known)
    if voxels is None or not voxels.as_stored:
        return None
    geometry, components = header_geometry(reader), reader.GetNumberOfComponents()
    dtype = to_array(sitk.Image((1, 1, 1), reader.GetPixelID(), components)).dtype
    slice_size = components * geometry.shape[1] * geometry.shape[2] * dtype.itemsize
    if geometry.shape[0] * slice_size != voxels.size or not (components == 1 or _are_interleaved(path, known)):
        return None
    offsets = voxels.offset + slice_size * np.arange(geometry.shape[0], dtype=np.int64)
    return RawParts(voxels.path, dtype.newbyteorder(voxels.byte_order), offsets[None], geometry, components)


def _are_interleaved(path: Path, known: ImageFormat) -> bool:
    """Return whether the channels of each voxel lie side by side in the file."""
    if known is NRRD:
        return read_nrrd_header(path).fields.get("spacedirections", "").startswith("none")
    return known is META
