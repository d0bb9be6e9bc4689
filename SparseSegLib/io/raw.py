"""Images for another process on the same machine: NRRD without compression, written piece by piece."""

from __future__ import annotations

import os

import numpy as np

from SparseSegLib.errors import UsageError
from SparseSegLib.files.atomic import atomic_path
from SparseSegLib.image import Geometry

_TYPES = {
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "int64": "int64",
    "uint64": "uint64",
    "float32": "float",
    "float64": "double",
}


def write_raw(array: np.ndarray, geometry: Geometry, path: str | os.PathLike[str]) -> None:
    """Write an image ``(Z, Y, X)`` as ``.nrrd``, whole or not at all.

    Other threads go on meanwhile: Python's lock is released while each piece is written.

    Raises
    ------
    UsageError
        For voxels of a type that NRRD lacks.
    FileError, ResourceError
        If the file cannot be written, or the disk is full.
    """
    if array.dtype.name not in _TYPES:
        raise UsageError(f"Voxels of the type {array.dtype.name} cannot be written.", "Convert them to numbers.")
    directions = (geometry.affine()[:3, 2::-1]).T  # of i, j and k; the voxel indices are (z, y, x)
    vectors = [",".join(repr(float(part)) for part in vector) for vector in (*directions, geometry.origin)]
    header = "\n".join(
        [
            "NRRD0004",
            f"type: {_TYPES[array.dtype.name]}",
            "dimension: 3",
            "space: left-posterior-superior",
            "sizes: " + " ".join(str(size) for size in array.shape[::-1]),
            "space directions: " + " ".join(f"({vector})" for vector in vectors[:3]),
            "kinds: domain domain domain",
            "endian: little",
            "encoding: raw",
            f"space origin: ({vectors[3]})",
            "\n",
        ]
    )
    little = array.dtype.newbyteorder("<")
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(header.encode("ascii"))
        for piece in array:
            file.write(np.ascontiguousarray(piece, dtype=little).tobytes())
