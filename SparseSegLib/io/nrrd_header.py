"""NRRD headers, read and checked as text before ITK's parser, which trusts them, sees them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from SparseSegLib.errors import FileError
from SparseSegLib.io.declared import (
    LARGEST_LENGTH,
    ByteOrder,
    DeclaredVoxels,
    Encoding,
    damaged_header,
    data_file,
    shown,
)

MAGIC = re.compile(rb"NRRD00[0.]\d{1,2}\r?\n")
_MOST_LINES = 50_000
_LONGEST_FIELD = 500
_LONGEST_KEY = 1 << 20
_LONGEST_HEADER = 1 << 26
_LARGEST_SIZE = 1 << 31

_ITEM_SIZES = {
    1: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t",
    2: "short, short int, signed short, signed short int, int16, int16_t, "
    "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    4: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
    8: "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t, "
    "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t, double",
}
_TYPES = {name: size for size, names in _ITEM_SIZES.items() for name in names.split(", ")}
_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex", "gz": "deflate", "gzip": "deflate",
}  # fmt: skip
_SPACES = {
    "right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps",
    "right-anterior-superior-time", "left-anterior-superior-time", "left-posterior-superior-time",
    "rast", "last", "lpst", "scanner-xyz", "scanner-xyz-time", "3d-right-handed", "3d-left-handed",
    "3d-right-handed-time", "3d-left-handed-time",
}  # fmt: skip
_KINDS = {
    "domain", "space", "time", "list", "point", "vector", "covariant-vector", "normal", "stub", "scalar", "complex",
    "2-vector", "3-color", "rgb-color", "hsv-color", "xyz-color", "4-color", "rgba-color", "3-vector", "3-gradient",
    "3-normal", "4-vector", "quaternion", "2d-symmetric-matrix", "2d-masked-symmetric-matrix", "2d-matrix",
    "2d-masked-matrix", "3d-symmetric-matrix", "3d-masked-symmetric-matrix", "3d-matrix", "3d-masked-matrix",
    "???", "none",
}  # fmt: skip
_VECTOR = re.compile(r"\(([^()]*)\)|none")


@dataclass(frozen=True)
class NrrdHeader:
    """The fields of an NRRD header, by their names in small letters without blanks, and its key-value pairs."""

    path: Path
    fields: dict[str, str]
    keys: dict[str, str] = field(default_factory=dict)
    end: int = 0

    @property
    def voxels(self) -> DeclaredVoxels:
        """The place of the voxels; raises FileError if there is no such file beside the header."""
        detached = self.fields.get("datafile")
        path = data_file(self.path, detached) if detached is not None else self.path
        values = math.prod(int(size) for size in self.fields["sizes"].split())
        skipped = max(0, int(self.fields.get("byteskip", 0)))
        encoding = _ENCODINGS[self.fields["encoding"].lower()]
        offset = (0 if detached is not None else self.end) + (skipped if encoding == "raw" else 0)
        byte_order: ByteOrder = ">" if self.fields.get("endian", "little").lower() == "big" else "<"
        as_stored = encoding == "raw" and "lineskip" not in self.fields and int(self.fields.get("byteskip", 0)) >= 0
        itemsize = _TYPES[self.fields["type"].lower()]
        return DeclaredVoxels(path, offset, values, itemsize, encoding, None, byte_order, as_stored)


def read_nrrd_header(path: Path) -> NrrdHeader:
    """Read and check the header of an NRRD file.

    Text is UTF-8 or, where it cannot be that, Latin-1.

    Raises
    ------
    FileError
        If a line, a number or a word in it cannot be.
    """
    with open(path, "rb") as file:
        if not MAGIC.fullmatch(file.readline(20)):
            raise FileError(f"The file {path} is no NRRD file, or it is damaged.", "Export it again.")
        header = NrrdHeader(path, *_read_lines(path, file), end=file.tell())
    _check(header)
    return header


def _read_lines(path: Path, file: BinaryIO) -> tuple[dict[str, str], dict[str, str]]:
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_KEY)
        text = line.rstrip(b"\r\n")
        if not text:
            return fields, keys
        if file.tell() > _LONGEST_HEADER:
            break
        if len(line) == _LONGEST_KEY or b"\r" in text or b"\x00" in text:
            raise damaged_header(path, "a line is too long or no text")
        if text.startswith(b"#"):
            continue
        name, separator, value = text.partition(b": ")
        word = name.decode("latin-1").lower().replace(" ", "")
        if separator and word in _FIELDS:
            if word in fields:
                raise damaged_header(path, f"{shown(word)} occurs twice")
            if len(value) > _LONGEST_FIELD:
                raise damaged_header(path, f"{shown(word)} is too long")
            fields[word] = decode(value).strip()
            continue
        key, separator, value = text.partition(b":=")
        if not separator:
            raise damaged_header(path, f"the line {shown(decode(text))} means nothing")
        keys[_unescape(decode(key))] = _unescape(decode(value))
    raise damaged_header(path, "it is too long")


def decode(text: bytes) -> str:
    """Return text of an unknown encoding: UTF-8 or, where it cannot be that, Latin-1."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _unescape(text: str) -> str:
    """Undo what NRRD does to newlines and backslashes in key-value pairs."""
    return re.sub(r"\\([\\n])", lambda match: "\n" if match[1] == "n" else "\\", text)


def _check(header: NrrdHeader) -> None:
    for name in ("type", "dimension", "sizes", "encoding"):
        if name not in header.fields:
            raise damaged_header(header.path, f"it has no {shown(name)}")
    encoding = header.fields["encoding"].lower()
    if encoding in ("bz2", "bzip2"):
        raise FileError(
            f"The file {header.path} is compressed with bzip2, which cannot be read.",
            "Save it again, compressed with gzip or not at all.",
        )
    if header.fields["dimension"] not in ("2", "3", "4"):
        raise FileError(
            f"The file {header.path} has {shown(header.fields['dimension'])} dimensions; 2 to 4 can be read.",
            "Save one volume of it as a file of its own.",
        )
    dimension = int(header.fields["dimension"])
    for name, value in header.fields.items():
        if not _FIELDS[name](value, dimension):
            raise damaged_header(header.path, f"{shown(name)} is {shown(value)}")


def _word(known: set[str] | dict) -> Callable[[str, int], bool]:
    return lambda value, dimension: value.lower() in known


def _kinds(value: str, dimension: int) -> bool:
    words = value.lower().split()
    return len(words) == dimension and all(word in _KINDS for word in words)


def _sizes(value: str, dimension: int) -> bool:
    words = value.split()
    return len(words) == dimension and all(_whole(word, 1, _LARGEST_SIZE) for word in words)


def _whole(word: str, low: int, high: int) -> bool:
    return re.fullmatch(r"-?\d{1,19}", word, re.ASCII) is not None and low <= int(word) <= high


def _count(low: int, high: int) -> Callable[[str, int], bool]:
    return lambda value, dimension: _whole(value, low, high)


def _is_number(word: str, *, finite: bool = True) -> bool:
    try:
        return abs(float(word)) <= LARGEST_LENGTH or not finite
    except ValueError:
        return False


def _numbers(value: str, dimension: int) -> bool:
    """An axis that is no space has "nan"."""
    words = value.split()
    return len(words) == dimension and all(_is_number(word, finite=False) for word in words)


def _number(value: str, dimension: int) -> bool:
    return _is_number(value, finite=False)


def _vectors(value: str, dimension: int) -> bool:
    """Vectors as (1,0,0), one for each axis (or, of the measurement frame, of space); "none" where it is no space."""
    found = [match[1] for match in _VECTOR.finditer(value)]
    rest = _VECTOR.sub("", value).strip()
    return not rest and 1 <= len(found) <= dimension and all(vector is None or _vector(vector, 0) for vector in found)


def _vector(value: str, dimension: int) -> bool:
    words = value.strip("() ").split(",")
    return len(words) <= 4 and all(_is_number(word) for word in words)


def _text(value: str, dimension: int) -> bool:
    return is_line(value)


def _plain(value: str, dimension: int) -> bool:
    return is_line(value) and "%" not in value


def is_line(text: str) -> bool:
    """Return whether a text has no control characters but tabs."""
    return not any(unicodedata.category(character) == "Cc" and character != "\t" for character in text)


_FIELDS: dict[str, Callable[[str, int], bool]] = {
    "type": _word(_TYPES),
    "dimension": _count(2, 4),
    "space": _word(_SPACES),
    "spacedimension": _count(1, 4),
    "sizes": _sizes,
    "spacings": _numbers,
    "thicknesses": _numbers,
    "axismins": _numbers,
    "axismaxs": _numbers,
    "spacedirections": _vectors,
    "spaceorigin": _vector,
    "measurementframe": _vectors,
    "kinds": _kinds,
    "centers": _plain,
    "centerings": _plain,
    "labels": _text,
    "units": _text,
    "spaceunits": _text,
    "sampleunits": _text,
    "content": _text,
    "number": _count(0, 1 << 62),
    "blocksize": _count(0, 0),
    "min": _number,
    "max": _number,
    "oldmin": _number,
    "oldmax": _number,
    "encoding": _word(_ENCODINGS),
    "endian": _word({"little", "big"}),
    "lineskip": _count(0, 1 << 20),
    "byteskip": _count(-1, 1 << 62),
    "datafile": _text,
}
