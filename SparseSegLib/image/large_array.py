"""Arrays that are too large for memory: they lie in a file, of which the system keeps in memory what is used."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
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
    dtype, count = np.dtype(dtype), math.prod(shape)
    if count * dtype.itemsize >= LARGE:
        block = np.full(_BLOCK, fill, dtype)
        found = _in_file(shape, dtype, (block[: count - start] for start in range(0, count, _BLOCK)))
        if found is not None:
            return found
    return np.full(shape, fill, dtype) if fill else np.zeros(shape, dtype)


def copy_of(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """Return a copy of an array, in its type unless another is given; a large one as `new_array` makes it."""
    dtype = np.dtype(dtype or array.dtype)
    if array.size * dtype.itemsize >= LARGE:
        slabs = (np.ascontiguousarray(slab, dtype) for part in array for slab in (part if array.ndim > 3 else [part]))
        found = _in_file(array.shape, dtype, slabs)
        if found is not None:
            return found
    return np.array(array, dtype, order="C")


def is_large(array: np.ndarray) -> bool:
    """Return whether an array is so large that nothing should be a copy of it in memory."""
    return array.nbytes >= LARGE


def _in_file(shape: Sequence[int], dtype: np.dtype, blocks: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return an array of these blocks in a file; None where there is no room for it.

    All of it is written: of a file with holes a full disk would be told by the end of the process.
    """
    try:
        with tempfile.TemporaryFile() as file:
            for block in blocks:
                file.write(block.data)
            file.flush()
            return np.asarray(np.memmap(file, dtype, "r+", shape=tuple(shape)))
    except OSError:
        return None
