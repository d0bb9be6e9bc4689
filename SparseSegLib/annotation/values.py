"""The values that structures have in files, and the classes 1..n that the engine counts in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from SparseSegLib.annotation.checks import HIGHEST
from SparseSegLib.errors import AnnotationError
from SparseSegLib.image.label_values import counts_in
from SparseSegLib.image.large_array import new_array

HIGHEST_VALUE = 2**31 - 1
"""The highest value of a structure in a file: labelmaps are integers of up to 32 bits."""

_SMALL = 2**16  # values below it are looked up in a table


def values_in(labels: np.ndarray) -> list[int]:
    """The values that occur in ``(Z, Y, X)`` integers, sorted."""
    if labels.dtype == np.uint8:
        return [int(value) for value in np.flatnonzero(counts_in(labels))]
    found: set[int] = set()
    for plane in labels:
        found.update(np.unique(plane).tolist())
    return sorted(int(value) for value in found)


def check_structures(values: Sequence[int], source: str) -> None:
    """Raise AnnotationError if ``values`` cannot be those of structures; ``source`` is what to call their file."""
    low, high = min(values, default=1), max(values, default=1)
    if low < 1 or high > HIGHEST_VALUE:
        raise AnnotationError(
            f"{source} has the value {low if low < 1 else high}, and structures have values from 1 to {HIGHEST_VALUE}.",
            "Give the structure another value, or set it to 0 if it is none.",
        )
    if len(values) > HIGHEST:
        raise AnnotationError(
            f"{source} has {len(values)} structures, and {HIGHEST} is the most.", "Leave some out, or merge them."
        )


def encoded(labels: np.ndarray, codes: Mapping[int, int]) -> np.ndarray:
    """Replace every value of ``(Z, Y, X)`` integers by its code, from 0 to 255; uint8.

    ``codes`` must have all values that occur.
    """
    known = np.array(sorted(codes), np.int64)
    values = np.array([codes[int(value)] for value in known], np.uint8)
    out = new_array(labels.shape, np.uint8)
    small = known[0] >= 0 and known[-1] < _SMALL
    if small:
        table = np.zeros(known[-1] + 1, np.uint8)
        table[known] = values
    for number, plane in enumerate(labels):  # slice by slice: indices take eight times the memory
        out[number] = table[plane] if small else values[np.searchsorted(known, plane)]
    return out


def decoded(classes: np.ndarray, values: Sequence[int], codes: Mapping[int, int] | None = None) -> np.ndarray:
    """Give ``(Z, Y, X)`` classes 0, 1..n their ``values``, in the smallest integers that hold them.

    Other codes stay, unless ``codes`` maps them.
    """
    table = np.arange(256, dtype=np.int64)
    table[1 : len(values) + 1] = values
    for code, value in (codes or {}).items():
        table[code] = value
    if (table == np.arange(256)).all():
        return classes
    high = max([HIGHEST + 1, *values])
    kind = np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.int32
    table = table.astype(kind)
    out = new_array(classes.shape, kind)
    for number, plane in enumerate(classes):
        out[number] = table[plane]
    return out
