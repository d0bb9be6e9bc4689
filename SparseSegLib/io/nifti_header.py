"""NIfTI and Analyze headers, checked before ITK's reader, which trusts them, sees them."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SparseSegLib.errors import FileError
from SparseSegLib.io.declared import LARGEST_LENGTH, ByteOrder, DeclaredVoxels, check_regular, damaged_header, truncated

SIZE = 348
_SIZE_2 = 540
_SINGLE, _PAIR = b"n+1\x00", b"ni1\x00"
_FIRST_VOXEL = 352
_BITS = {
    2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64,
    1536: 128, 1792: 128, 2048: 256, 2304: 32,
}  # fmt: skip
_SCANNER_OR_ALIGNED = (1, 2)
_SKEW = 1e-3  # the cosine of the angle between two axes above which they are not at right angles


@dataclass(frozen=True)
class NiftiHeader:
    """The fields of a NIfTI-1 or Analyze header that determine how much is read, and where it lies."""

    path: Path
    sizes: tuple[int, ...]
    bits: int
    offset: float
    magic: bytes
    sform_code: int
    sform: np.ndarray  # (3, 3), its columns the steps along the axes
    byte_order: ByteOrder
    scaled: bool

    @property
    def voxels(self) -> DeclaredVoxels:
        """The place of the voxels; raises FileError if there is no such file beside the header."""
        path = self.path if self.magic == _SINGLE else _voxel_file(self.path)
        offset = max(_FIRST_VOXEL, int(self.offset)) if self.magic == _SINGLE else max(0, int(self.offset))
        values = math.prod(self.sizes)
        if is_gzip(path):  # header and voxels in one stream
            return DeclaredVoxels(path, 0, offset + values * self.bits // 8, 1, "deflate")
        size = values * self.bits // 8
        return DeclaredVoxels(path, offset, size, 1, byte_order=self.byte_order, as_stored=not self.scaled)


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read and check the header of a NIfTI file, or of an Analyze file in two parts.

    Raises
    ------
    FileError
        If the header is none, or its numbers do not fit each other; or if its axes are sheared.
    """
    part = _header_file(path)
    raw = start_of(part, SIZE)
    orders: tuple[ByteOrder, ...] = ("<", ">")
    order = next((order for order in orders if _length(raw, order) == SIZE), None)
    if _length(raw, "<") == _SIZE_2 or _length(raw, ">") == _SIZE_2:
        raise FileError(f"The file {path} is NIfTI-2, which ITK does not read.", "Save it as NIfTI-1 or as .nrrd.")
    if len(raw) < SIZE or order is None:
        raise FileError(f"The file {path} is no NIfTI file, or it is damaged.", "Export it again.")
    sizes = struct.unpack(f"{order}8h", raw[40:56])
    datatype, bits = struct.unpack(f"{order}2h", raw[70:74])
    pixdim = struct.unpack(f"{order}8f", raw[76:108])
    offset, slope, intercept = struct.unpack(f"{order}3f", raw[108:120])
    qform_code, sform_code = struct.unpack(f"{order}2h", raw[252:256])
    qform = np.array(struct.unpack(f"{order}6f", raw[256:280]))
    sform = np.array(struct.unpack(f"{order}12f", raw[280:328])).reshape(3, 4)
    if not 2 <= sizes[0] <= 7 or min(sizes[1 : sizes[0] + 1]) < 1:
        raise damaged_header(path, "its dimensions are not 2 to 7 positive numbers")
    if bits != _BITS.get(datatype):
        raise damaged_header(path, f"voxels of type {datatype} with {bits} bits are not known")
    if not 0 <= offset < 2**40 or not _are_lengths(np.array(pixdim[1:4])):
        raise damaged_header(path, "a size or position in it is not a number that can be")
    scaled = slope not in (0, 1) or intercept != 0
    header = NiftiHeader(
        path, sizes[1 : sizes[0] + 1], bits, offset, raw[344:348], sform_code, sform[:, :3], order, scaled
    )
    if (sform_code > 0 and not _are_lengths(sform)) or (qform_code > 0 and not _are_lengths(qform)):
        raise damaged_header(path, "its position or axes are not numbers that can be")
    if sform_code in _SCANNER_OR_ALIGNED and _is_sheared(sform[:, :3]):
        raise sheared(path)
    return header


def _length(raw: bytes, order: str) -> int:
    """The length that a header declares for itself."""
    return int.from_bytes(raw[:4], "little" if order == "<" else "big")


def _are_lengths(values: np.ndarray) -> bool:
    return bool((np.abs(values) <= LARGEST_LENGTH).all())


def _is_sheared(matrix: np.ndarray) -> bool:
    length = np.linalg.norm(matrix, axis=0)
    if not length.all():
        return False
    cosines = (matrix / length).T @ (matrix / length)
    return bool(np.abs(cosines - np.eye(3)).max() > _SKEW)


def sheared(path: Path) -> FileError:
    """Return the error for a NIfTI file whose axes are not at right angles."""
    return FileError(
        f"The file {path} has sheared axes (not at right angles), which ITK does not read from NIfTI.",
        "Load it in 3D Slicer, harden its transform and save it as .nrrd.",
    )


def is_nifti(start: bytes) -> bool:
    """Return whether a file that begins so, once decompressed, is NIfTI."""
    return start[344:348] in (_SINGLE, _PAIR) or start[4:8] in (b"n+2\0", b"ni2\0")


def is_gzip(path: Path) -> bool:
    """Return whether a file is compressed with gzip, by its first bytes."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def start_of(path: Path, length: int) -> bytes:
    """Return the first bytes of a file, decompressed if it is gzip."""
    try:
        with gzip.open(path) if is_gzip(path) else open(path, "rb") as file:
            return file.read(length)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise truncated(path) from error


def _header_file(path: Path) -> Path:
    return _partner(path, ".hdr") if _part(path) == ".img" else path


def _voxel_file(path: Path) -> Path:
    return path if _part(path) == ".img" else _partner(path, ".img")


def _part(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return name[-4:]


def _partner(path: Path, ending: str) -> Path:
    """The other one of .hdr and .img, compressed or not."""
    name = path.name[: -len(".gz")] if path.name.lower().endswith(".gz") else path.name
    stem = name[:-4]
    for candidate in (f"{stem}{ending}", f"{stem}{ending}.gz", f"{stem}{ending.upper()}"):
        if path.with_name(candidate).exists():
            check_regular(path.with_name(candidate))
            return path.with_name(candidate)
    raise FileError(
        f"The file {path.with_name(stem + ending)}, which belongs to {path.name}, is missing.",
        "Copy it beside the other.",
    )
