"""Arrays that are too large for memory: they lie in a file, of which the system keeps in memory what is used."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

LARGE = 1 << 28
"""Bytes from which on an array lies in a file."""

_BLOCK = 1 << 24


def new_array(shape: Sequence[int], dtype: Any, fill: float = 0) -> np.ndarray:
    """Return an array that is ``fill`` everywhere.

    A large one lies in a file without a name in the system's folder for temporary files (``TMPDIR``), which is gone
    with it; in memory, where that folder has no room.
    """
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    if count * dtype.itemsize < LARGE:
        return np.full(shape, fill, dtype) if fill else np.zeros(shape, dtype)
    block = np.full(min(count, _BLOCK), fill, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            for start in range(0, count, _BLOCK):  # written, not skipped: a disk that is full must say so now
                file.write(block[: count - start].data)
            file.flush()
            return np.asarray(np.memmap(file, dtype, "r+", shape=tuple(shape)))
    except OSError:
        return np.full(shape, fill, dtype)


def is_large(array: np.ndarray) -> bool:
    """Return whether an array is so large that nothing should be a copy of it in memory."""
    return array.nbytes >= LARGE


def copy_of(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """Return a copy of an array, in its type unless another is given; a large one as `new_array` makes it."""
    dtype = np.dtype(dtype or array.dtype)
    if array.size * dtype.itemsize < LARGE:
        return np.array(array, dtype, order="C")
    out = new_array(array.shape, dtype)
    out[...] = array
    return out
