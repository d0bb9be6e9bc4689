"""Groups and arrays of Zarr on disk: their JSON, checked before zarr, which trusts it, sees it. No zarr needed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.errors import FileError
from SparseSegLib.files import PathLike, read_json
from SparseSegLib.files.zarr_folder import ARRAY, GROUP, VERSION_3
from SparseSegLib.io.declared import check_memory, check_regular, damaged_header, shown

SUFFIX = ".zarr"
_ATTRIBUTES = ".zattrs"
_HINT = "Copy or export the image again."
_MOST_AXES = 5
_LARGEST_SIZE = 1 << 40
_DTYPE = re.compile(r"[<>|][biuf][1248]")
_DTYPES = {
    "bool",
    "float16",
    "float32",
    "float64",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
_COMPRESSORS = {"blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
_FILTERS = {"bitround", "delta", "shuffle", "crc32", "crc32c", "adler32", *_COMPRESSORS}
_CODECS = {"blosc", "bytes", "crc32c", "gzip", "transpose", "zstd"}
_SHARDING = "sharding_indexed"


@dataclass(frozen=True)
class ZarrNode:
    """A group or an array on disk.

    Parameters
    ----------
    path : its folder
    version : of the format of Zarr, 2 or 3
    is_array : whether it is an array, not a group
    metadata : what describes an array
    attributes : what anybody has noted of it
    """

    path: Path
    version: int
    is_array: bool
    metadata: dict[str, Any]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class StoredArray:
    """What an array declares about itself.

    Parameters
    ----------
    path : its folder
    shape : its size along each axis
    chunks : that of what is in one file
    dtype : the voxels' type
    prefix, separator : of the names of its chunks' files, as "c/" and "/" in c/0/1/2
    """

    path: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    prefix: str
    separator: str

    def check_chunks(self, place: Sequence[slice]) -> None:
        """Raise FileError if a chunk of a part is something else than a file: a pipe, a device."""
        sides = [
            range(part.start // size, -(-part.stop // size)) for part, size in zip(place, self.chunks, strict=True)
        ]
        for numbers in product(*sides):
            file = self.path / f"{self.prefix}{self.separator.join(map(str, numbers))}"
            if file.exists():
                check_regular(file)


def has_zarr_name(path: PathLike) -> bool:
    """Return whether a path has the suffix of Zarr."""
    return Path(path).suffix.lower() == SUFFIX


def read_node(path: Path) -> ZarrNode:
    """Read the description of a group or an array; FileError if it cannot be."""
    if (path / VERSION_3).is_file():
        metadata = _object(path / VERSION_3)
        kind, attributes = metadata.get("node_type"), metadata.get("attributes", {})
        if metadata.get("zarr_format") != 3 or kind not in ("group", "array") or not isinstance(attributes, dict):
            raise damaged_header(path, "it is no group and no array")
        return ZarrNode(path, 3, kind == "array", metadata, attributes)
    name = next((name for name in (ARRAY, GROUP) if (path / name).is_file()), None)
    if name is None:
        raise FileError(f"The folder {path} is no OME-Zarr image, or it is not whole.", _HINT)
    metadata = _object(path / name)
    if metadata.get("zarr_format") != 2:
        raise damaged_header(path, "its format of Zarr is not 2 or 3")
    attributes = _object(path / _ATTRIBUTES) if (path / _ATTRIBUTES).exists() else {}
    return ZarrNode(path, 2, name == ARRAY, metadata, attributes)


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path, _HINT)
    if not isinstance(value, dict):
        raise damaged_header(path, "it is no object")
    return value


def inside(path: Path, name: Any) -> Path:
    """Return the folder of a group's child that the group names; FileError if it leads out of the group's folder."""
    parts = name.split("/") if isinstance(name, str) else []
    if not parts or any(part in ("", ".", "..") or re.search(r"[\x00-\x1f\\:]", part) for part in parts):
        raise damaged_header(path, f"it names {shown(str(name))} for a part of itself")
    return path.joinpath(*parts)


def check_array(node: ZarrNode) -> StoredArray:
    """Return what an array declares.

    Raises
    ------
    FileError
        If something cannot be, or its voxels are no plain numbers, or are stored in a way that could run a program.
    ResourceError
        If one of its chunks does not fit into memory.
    """
    path, fields = node.path, node.metadata
    if not node.is_array:
        raise damaged_header(path, "it is no array")
    shape = _sizes(path, fields.get("shape"))
    if node.version == 2:
        chunks, dtype = _sizes(path, fields.get("chunks")), fields.get("dtype")
        known = isinstance(dtype, str) and _DTYPE.fullmatch(dtype) is not None
        _check_named(path, [fields["compressor"]] if fields.get("compressor") else [], "id", _COMPRESSORS)
        _check_named(path, fields.get("filters") or [], "id", _FILTERS)
        prefix, separator = "", fields.get("dimension_separator", ".")
    else:
        grid, dtype = _configuration(path, fields.get("chunk_grid"), "regular"), fields.get("data_type")
        chunks, known = _sizes(path, grid.get("chunk_shape")), isinstance(dtype, str) and dtype in _DTYPES
        _check_codecs(path, fields.get("codecs"))
        prefix, separator = _chunk_names(path, fields.get("chunk_key_encoding"))
        if fields.get("storage_transformers"):
            raise _unknown(path, "a storage transformer")
    if not known:
        raise _unknown(path, f"voxels of the type {shown(str(dtype))}")
    if separator not in (".", "/"):
        raise damaged_header(path, "it does not say how its chunks are called")
    if len(chunks) != len(shape):
        raise damaged_header(path, "its chunks have other axes than itself")
    numbers = np.dtype(dtype)
    check_memory(path, math.prod(chunks) * numbers.itemsize)
    return StoredArray(path, shape, chunks, numbers.newbyteorder("="), prefix, separator)


def _sizes(path: Path, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_AXES or not all(map(_is_size, value)):
        raise damaged_header(path, f"its sizes are {shown(str(value))}")
    return tuple(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST_SIZE


def _configuration(path: Path, value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("name") != name or not isinstance(value.get("configuration"), dict):
        raise _unknown(path, f"chunks that are not {name}")
    return value["configuration"]


def _chunk_names(path: Path, encoding: Any) -> tuple[str, Any]:
    """Return prefix and separator of the names of an array of version 3."""
    name = encoding.get("name") if isinstance(encoding, dict) else None
    settings = encoding.get("configuration", {}) if isinstance(encoding, dict) else {}
    if name not in ("default", "v2") or not isinstance(settings, dict):
        raise damaged_header(path, "it does not say how its chunks are called")
    separator = settings.get("separator", "/" if name == "default" else ".")
    return (f"c{separator}" if name == "default" else ""), separator


def _check_codecs(path: Path, codecs: Any) -> None:
    """Raise FileError if one of the codecs of version 3, or of those within shards, is not known."""
    plain = _CODECS | {f"numcodecs.{name}" for name in _FILTERS}
    _check_named(path, codecs, "name", plain | {_SHARDING})
    for shards in (one for one in codecs if one["name"] == _SHARDING):
        within = _configuration(path, shards, _SHARDING)
        _sizes(path, within.get("chunk_shape"))
        for part in ("codecs", "index_codecs"):
            _check_named(path, within.get(part), "name", plain)


def _check_named(path: Path, values: Any, key: str, known: set[str]) -> None:
    if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
        raise damaged_header(path, "it does not say how its chunks are stored")
    for one in values:
        if not isinstance(one.get(key), str) or one[key] not in known:
            raise _unknown(path, f"the codec {shown(str(one.get(key)))}")


def _unknown(path: Path, what: str) -> FileError:
    return FileError(
        f"The array {path} has {what}, which is not read.", "Save it with blosc, zstd, gzip or uncompressed."
    )
