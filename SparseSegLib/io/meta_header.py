"""MHA and MHD headers, read and checked as text before ITK's parser, which trusts them, sees them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

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
from SparseSegLib.io.nrrd_header import decode, is_line

_MOST_LINES = 20_000
_LONGEST_LINE = 1 << 16
_LONGEST_FIELD = 500
_LINE = re.compile(r"\s*([^=:]*[^=:\s])\s*[=:]\s*(.*?)\s*")
_ITEM_SIZES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
_WORDS = {
    "ObjectType": {"image"},
    "BinaryData": {"true", "false", "1", "0"},
    "BinaryDataByteOrderMSB": {"true", "false", "1", "0"},
    "ElementByteOrderMSB": {"true", "false", "1", "0"},
    "CompressedData": {"true", "false", "1", "0"},
    "Modality": {"met_mod_ct", "met_mod_mr", "met_mod_nm", "met_mod_us", "met_mod_other", "met_mod_unknown"},
    "DistanceUnits": {"mm", "um", "cm", "?"},
}
_VECTORS = {
    "Offset", "Position", "Origin", "CenterOfRotation", "ElementSpacing", "ElementSize",
}  # fmt: skip
_MATRICES = {"TransformMatrix", "Rotation", "Orientation"}
_SCALING = {"ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"}
_NUMBERS = {"ElementMin", "ElementMax", *_SCALING}
_WHOLE = {"NDims", "DimSize", "ElementNumberOfChannels", "HeaderSize", "CompressedDataSize", "ID", "ParentID"}
_TEXTS = {
    "ElementType", "ElementDataFile", "AnatomicalOrientation", "Name", "Comment", "Color", "ObjectSubType",
    "TransformType", "AcquisitionDate", "SequenceID", "CompressionLevel",
}  # fmt: skip
_MAY_HAVE_PERCENT = ("Comment", "ElementDataFile")  # the name of the data is looked at where the file is looked for
_KNOWN = {*_WORDS, *_VECTORS, *_MATRICES, *_NUMBERS, *_WHOLE, *_TEXTS}


@dataclass(frozen=True)
class MetaHeader:
    """The fields of an MHA or MHD file that mean something to a reader."""

    path: Path
    fields: dict[str, str]
    end: int

    @property
    def voxels(self) -> DeclaredVoxels:
        """The place of the voxels; raises FileError if there is no such file beside the header."""
        fields = self.fields
        local = fields["ElementDataFile"].lower() == "local"
        path = self.path if local else data_file(self.path, fields["ElementDataFile"])
        values = math.prod(int(size) for size in fields["DimSize"].split())
        values *= int(fields.get("ElementNumberOfChannels", 1))
        encoding: Encoding = "raw"
        compressed = int(fields.get("CompressedDataSize", 0)) or None
        if _is_true(fields.get("CompressedData", "False")):
            encoding = "deflate"
        elif not _is_true(fields.get("BinaryData", "True")):
            encoding = "text"
        skipped = max(0, int(fields.get("HeaderSize", 0))) if encoding == "raw" else 0
        offset, itemsize = (self.end if local else 0) + skipped, _ITEM_SIZES[fields["ElementType"]]
        big = any(_is_true(fields.get(name, "False")) for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
        as_stored = encoding == "raw" and int(fields.get("HeaderSize", 0)) >= 0 and not _SCALING & set(fields)
        byte_order: ByteOrder = ">" if big else "<"
        return DeclaredVoxels(path, offset, values, itemsize, encoding, compressed, byte_order, as_stored)


def read_meta_header(path: Path) -> MetaHeader:
    """Read and check the header of an MHA or MHD file.

    Raises
    ------
    FileError
        If a line, a number or a word in it cannot be.
    """
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_LINE)
            if not line:
                raise FileError(f"The file {path} is no MHA or MHD file, or it is damaged.", "Export it again.")
            if len(line) == _LONGEST_LINE:
                raise damaged_header(path, "a line is too long")
            if not line.strip():
                continue
            _add(path, fields, decode(line.rstrip(b"\r\n")))
            if "ElementDataFile" in fields:
                header = MetaHeader(path, fields, file.tell())
                _check(header)
                return header
    raise damaged_header(path, "it has too many lines")


def _add(path: Path, fields: dict[str, str], line: str) -> None:
    match = _LINE.fullmatch(line)
    if match is None or "\x00" in line:
        if not fields:
            raise FileError(f"The file {path} is no MHA or MHD file, or it is damaged.", "Export it again.")
        raise damaged_header(path, f"the line {shown(line)} means nothing")
    name, value = match.groups()
    if len(name) > _LONGEST_FIELD:
        raise damaged_header(path, "a name is too long")
    if name not in _KNOWN:
        return
    if name in fields:
        raise damaged_header(path, f"{shown(name)} occurs twice")
    if len(value) > _LONGEST_FIELD or (name not in _MAY_HAVE_PERCENT and "%" in value):
        raise damaged_header(path, f"{shown(name)} is {shown(value)}")
    fields[name] = value


def _check(header: MetaHeader) -> None:
    path, fields = header.path, header.fields
    for name in ("NDims", "DimSize", "ElementType"):
        if name not in fields:
            raise damaged_header(path, f"it has no {shown(name)}")
    if fields["NDims"] not in ("2", "3", "4"):
        raise FileError(
            f"The file {path} has {shown(fields['NDims'])} dimensions; 2 to 4 can be read.",
            "Save one volume of it as a file of its own.",
        )
    if fields["ElementType"] not in _ITEM_SIZES:
        raise damaged_header(path, f"{shown('ElementType')} is {shown(fields['ElementType'])}")
    dimension = int(fields["NDims"])
    for name, value in fields.items():
        if not _is_good(name, value, dimension):
            raise damaged_header(path, f"{shown(name)} is {shown(value)}")
    compressed = fields["ElementDataFile"].lower() == "local" and _is_true(fields.get("CompressedData", "False"))
    if compressed and not 0 < int(fields.get("CompressedDataSize", 0)) <= path.stat().st_size:
        raise damaged_header(path, "it does not say how long its compressed data is")


def _is_good(name: str, value: str, dimension: int) -> bool:
    words = value.split()
    if name in _WORDS:
        return value.lower() in _WORDS[name]
    if name in _VECTORS or name in _MATRICES:
        return len(words) == (dimension if name in _VECTORS else dimension**2) and all(map(_is_number, words))
    if name in _NUMBERS:
        return len(words) == 1 and _is_number(value)
    if name in _WHOLE:
        low = {"HeaderSize": -1, "ID": -1, "ParentID": -1, "CompressedDataSize": 0}.get(name, 1)
        whole = all(re.fullmatch(r"-?\d{1,15}", word, re.ASCII) and int(word) >= low for word in words)
        return whole and len(words) == (dimension if name == "DimSize" else 1)
    return is_line(value)


def _is_number(word: str) -> bool:
    try:
        return abs(float(word)) <= LARGEST_LENGTH
    except ValueError:
        return False


def _is_true(word: str) -> bool:
    return word.lower() in ("true", "1")
