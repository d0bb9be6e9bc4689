"""DICOM files opened by pydicom: quietly, within the size of the file, and with errors in plain words."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from SparseSegLib.errors import DependencyError, FileError, SparseSegError
from SparseSegLib.files import PathLike
from SparseSegLib.io.dicom.values import by_name, transfer_syntax, whole
from SparseSegLib.io.itk import no_memory

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PREAMBLE = 128  # bytes before the magic word
_SUFFIXES = {".dcm", ".dicom", ".ima"}
_HEAD = 1 << 10  # bytes with the encoding of a file
_TAIL = 1 << 16  # bytes at the end of a file, in which compressed pixels end
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
_UNKNOWN_LENGTH = 0xFFFFFFFF
_PIXELS = 0x7FE0  # the group of the pixels' tags
_PADDED_LENGTH = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"}  # types whose length is 4 bytes after 2 of padding
_DEFLATED = "1.2.840.10008.1.2.1.99"
_MOST_INFLATED = 1 << 31  # bytes of a deflated file
_ALWAYS_DECODED = 1 << 26  # bytes of an image that any compressed file may hold,
_MOST_COMPRESSED = 1000  # and how many times smaller a larger one may be stored


@dataclass(frozen=True)
class Header:
    """The header of a DICOM file.

    Attributes
    ----------
    dataset : the tags that were asked for, by their names; pydicom's data set if none were named
    has_pixels : whether pixels follow
    complete : whether all of them are there
    offset : where they begin in the file if they lie there plainly: neither compressed nor with their bytes swapped
    """

    dataset: Any
    has_pixels: bool
    complete: bool
    offset: int | None = None


class _Bounded:
    """A file as pydicom reads it: what a damaged length asks for beyond its end is not even reserved in memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.length = os.fstat(stream.fileno()).st_size
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        return self.stream.read(size if size < _HEAD else min(size, max(0, self.length - self.stream.tell())))


def shown(path: PathLike) -> str:
    """Return the name of a file for messages; what of it is not text becomes question marks."""
    return os.fspath(Path(path).name).encode("utf-8", "replace").decode()


def check_pydicom() -> None:
    """Raise DependencyError if pydicom is not installed."""
    if importlib.util.find_spec("pydicom") is None:
        raise DependencyError("Reading DICOM needs pydicom.", "Install it with: pip install pydicom")


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep what pydicom and highdicom warn and log from the user."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def reading_dicom(path: PathLike) -> Iterator[None]:
    """Turn whatever pydicom raises on a damaged file into FileError, and keep its warnings from the user."""
    try:
        with quiet_pydicom():
            yield
    except SparseSegError:
        raise
    except MemoryError as error:
        raise no_memory(path) from error
    except OSError as error:
        reason = error.strerror or "it is damaged"
        raise FileError(f"The file {shown(path)} cannot be read: {reason}.", "Copy or export it again.") from error
    except Exception as error:  # a damaged value can raise anything, from struct.error to RecursionError
        raise damaged(path) from error


def damaged(path: PathLike) -> FileError:
    """Return the error for a DICOM file whose contents make no sense."""
    return FileError(f"The DICOM file {shown(path)} is damaged: it cannot be read.", "Copy or export it again.")


def cut_off(path: PathLike) -> FileError:
    """Return the error for a DICOM file that has fewer pixels than it declares."""
    return FileError(
        f"The DICOM file {shown(path)} is damaged: it ends before its image is complete.",
        "Copy, download or export it again.",
    )


def is_called_dicom(path: PathLike) -> bool:
    """Return whether a file has a name as DICOM files have: their suffix, or none."""
    name, suffix = Path(path).name, Path(path).suffix.lower()
    if name.startswith("."):  # what macOS adds to copies
        return False
    return not suffix or suffix in _SUFFIXES or suffix[1:].isdigit()  # names may be UIDs


def is_lost(path: PathLike) -> bool:
    """Return whether a file that is no DICOM is what was left of one: it has the suffix, or none and nothing in it."""
    if not is_called_dicom(path):
        return False
    if Path(path).suffix.lower() in _SUFFIXES:
        return True
    with open(path, "rb") as stream:
        return not stream.read(_HEAD).strip(b"\0")


def _is_dicom(head: bytes, path: PathLike, size: int) -> bool:
    """Return whether a file that begins so is DICOM: it has the magic word, or is a bare data set and may be one."""
    if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return True
    if len(head) < 8 or not is_called_dicom(path):
        return False
    if head[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    implicit = head[0] != 0 and head[3] < 0x20 and int.from_bytes(head[4:8], "little") < min(size, _HEAD)
    return explicit or implicit


def read_header(path: PathLike, tags: Sequence[str] | None = None) -> Header | None:
    """Return the header of a file, only some tags if they are named; None if it is not DICOM.

    Raises
    ------
    FileError
        If it is damaged.
    DependencyError
        If it is DICOM, and pydicom is not installed.
    """
    named = None if tags is None else list(tags)
    with reading_dicom(path), open(path, "rb") as stream:
        bounded = _Bounded(stream)
        head = stream.read(_HEAD)
        if not _is_dicom(head, path, bounded.length):
            return None
        check_pydicom()
        from pydicom import dcmread

        stream.seek(0)
        if _DEFLATED.encode() in head:
            return _read_deflated(stream.read(), path, named is not None)
        dataset = dcmread(bounded, stop_before_pixels=True, force=True, specific_tags=named)  # type: ignore[arg-type]
        length = _pixel_length(stream, dataset)
        values = dataset if named is None else by_name(dataset)
        if length == _UNKNOWN_LENGTH:
            stream.seek(max(stream.tell(), bounded.length - _TAIL))
            return Header(values, True, _SEQUENCE_END in stream.read())
        offset = stream.tell() if dataset.original_encoding[1] and not is_compressed(transfer_syntax(dataset)) else None
        return Header(values, length > 0, length <= bounded.length - stream.tell(), offset)


def _pixel_length(stream: BinaryIO, dataset: Any) -> int:
    """Return how many bytes of pixels follow, as the file declares; 0 if none do."""
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    head = stream.read(8)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4])[0] != _PIXELS:
        return 0
    if not implicit and head[4:6] in _PADDED_LENGTH:
        head = bytes(4) + stream.read(4)
    return int(struct.unpack(f"{order}L", head[4:])[0])


def _read_deflated(data: bytes, path: PathLike, named: bool) -> Header:
    """Return a file whose whole data set is compressed; raises ResourceError if it would grow beyond all measure."""
    from pydicom import dcmread

    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    meta = _PREAMBLE + 4 + 12 + int.from_bytes(data[140:144], "little")  # its first element is its length
    size, rest = 0, data[meta:]
    while rest and not inflating.eof and size <= _MOST_INFLATED:
        size += len(inflating.decompress(rest, 1 << 20))
        rest = inflating.unconsumed_tail
    if size > _MOST_INFLATED:
        raise no_memory(path, size)
    dataset = dcmread(io.BytesIO(data))
    return Header(by_name(dataset) if named else dataset, any(name in dataset for name in PIXELS), inflating.eof)


PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read_dataset(path: PathLike, tags: Sequence[str] | None = None) -> Dataset:
    """Return a DICOM file's data set with its pixels, only some tags if they are named.

    What it is and whether it is whole is known from `read_header`. Raises FileError if it is damaged.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    named = None if tags is None else list(tags)
    with reading_dicom(path), open(path, "rb") as stream:
        dataset = dcmread(_Bounded(stream), force=True, specific_tags=named)  # type: ignore[arg-type]
        if not transfer_syntax(dataset):  # a bare data set: what was found out by reading it
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return dataset


def check_size(path: PathLike, dataset: Any) -> None:
    """Raise FileError if a file declares more pixels than can be in it, before memory is taken for them."""
    sizes = [whole(dataset, name, 1) for name in ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")]
    sizes.append(whole(dataset, "BitsAllocated", 8))
    if min(sizes) < 1:
        raise damaged(path)
    size = 1
    for part in sizes:
        size *= part
    stored = os.path.getsize(path)
    syntax = transfer_syntax(dataset)
    if syntax == _DEFLATED:
        stored = _MOST_INFLATED
    elif is_compressed(syntax):
        stored = max(_ALWAYS_DECODED, _MOST_COMPRESSED * stored)
    if size // 8 > stored:
        raise cut_off(path)


def is_compressed(syntax: str) -> bool:
    """Return whether a transfer syntax has its pixels compressed, frame by frame."""
    return syntax.startswith("1.2.840.10008.1.2.") and not syntax.startswith(("1.2.840.10008.1.2.1", _BIG_ENDIAN))


_BIG_ENDIAN = "1.2.840.10008.1.2.2"
