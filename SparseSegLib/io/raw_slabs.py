"""NRRD, MHA and NIfTI files, written slab by slab."""

from __future__ import annotations

import gzip
import io
import struct
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SparseSegLib.image import Geometry
from SparseSegLib.io.arrays import written_type
from SparseSegLib.io.itk import writing
from SparseSegLib.io.segmentation import SegmentInfo, label_boxes, segment_metadata

_NIFTI_HEADER, _NIFTI_SIZES = 352, 42
_LEVEL = 1  # gzip's fastest: labels become small in any case
_SPARE = 64
_FEW = (2, 2, 2)
_Boxes = dict[int, tuple[slice, ...]]


class RawSlabs:
    """Writes an image of one channel slab by slab: .nrrd and .nii.gz compressed, .mha and .nii as they are.

    Parameters
    ----------
    path : the file
    geometry : the grid
    dtype : the voxels' type
    segments : the segments of labels, whose names, colors and boxes NRRD keeps
    compress : whether .nrrd is compressed; if not, it can be read in parts
    """

    def __init__(
        self, path: Path, geometry: Geometry, dtype: Any, segments: Sequence[SegmentInfo] = (), *, compress: bool = True
    ) -> None:
        self._path = path
        self._geometry = geometry
        self._dtype = written_type(dtype)
        self._ending = next(end for end in (".nrrd", ".mha", ".nii.gz", ".nii") if path.name.lower().endswith(end))
        self._segments = segments if self._ending == ".nrrd" else ()
        self._boxes: _Boxes = {}
        self._depth = 0
        self._compress = compress
        self._room = 0
        self._file = open(path, "wb")  # noqa: SIM115 - until it is finished
        self._stream: io.BufferedIOBase | gzip.GzipFile = self._file
        if self._ending == ".nii.gz":
            self._stream = self._zipped()
            self._stream.write(self._header({}))
            return
        widest = {segment.value: self._last_voxel() for segment in self._segments}
        header = self._header(widest)
        self._room = len(header) + _SPARE * (1 + len(self._segments)) if self._segments else 0
        self._file.write(header.ljust(self._room))
        if self._ending == ".nrrd" and compress:
            self._stream = self._zipped()

    def write(self, slab: np.ndarray) -> None:
        """Write the next slices, (1, Z, Y, X)."""
        values = np.ascontiguousarray(slab[0], self._dtype)
        self._stream.write(values.data)
        if self._segments:
            for value, (z, y, x) in label_boxes(values).items():
                box = (slice(z.start + self._depth, z.stop + self._depth), y, x)
                self._boxes[value] = _around(self._boxes.get(value, box), box)
        self._depth += len(values)

    def finish(self) -> None:
        """Write what has not been yet: the header that tells where the segments lie."""
        if self._stream is not self._file:
            self._stream.close()
        if self._room:
            header = self._header(self._boxes)
            comment = b"#".ljust(self._room - len(header) - 1) + b"\n"
            self._file.seek(0)
            self._file.write(header[:-1] + comment + b"\n")

    def close(self) -> None:
        """Let the file go, finished or not."""
        for stream in (self._stream, self._file):
            with suppress(OSError):
                stream.close()

    def _zipped(self) -> gzip.GzipFile:
        return gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=self._file, mtime=0)

    def _last_voxel(self) -> tuple[slice, ...]:
        """The box whose numbers have the most digits."""
        return tuple(slice(size - 1, size) for size in self._geometry.shape)

    def _header(self, boxes: Mapping[int, tuple[slice, ...]]) -> bytes:
        """Return the header that ITK writes: that of a few voxels on this grid, with the real sizes in its place."""
        few = replace(self._geometry, shape=_FEW)
        image = few.to_sitk(np.zeros(_FEW, self._dtype))
        if self._segments:
            for key, value in segment_metadata(boxes, self._geometry, self._segments).items():
                image.SetMetaData(key, value)
        ending = self._ending.removesuffix(".gz")
        with tempfile.TemporaryDirectory() as folder, writing(self._path, 0):
            file = Path(folder) / f"a{ending}"
            sitk.WriteImage(image, str(file), useCompression=self._compress and ending == ".nrrd")
            content = file.read_bytes()
        x, y, z = reversed(self._geometry.shape)
        sizes = f"{x} {y} {z}\n".encode()
        if ending == ".nrrd":
            return content[: content.index(b"\n\n") + 2].replace(b"\nsizes: 2 2 2\n", b"\nsizes: " + sizes, 1)
        if ending == ".mha":
            end = b"\nElementDataFile = LOCAL\n"
            header = content[: content.index(end) + len(end)]
            return header.replace(b"\nDimSize = 2 2 2\n", b"\nDimSize = " + sizes, 1)
        sizes = struct.pack("=3h", x, y, z)
        return content[:_NIFTI_SIZES] + sizes + content[_NIFTI_SIZES + len(sizes) : _NIFTI_HEADER]


def _around(one: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return the box around two boxes."""
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
