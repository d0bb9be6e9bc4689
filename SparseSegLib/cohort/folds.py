"""Splits of the cases into training and validation, and into folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SparseSegLib.errors import UsageError


def shuffled(names: Sequence[str], seed: int) -> list[int]:
    """Numbers of the cases in an order that depends on their names and ``seed`` alone, not on how they were given."""
    by_name = sorted(range(len(names)), key=lambda number: (names[number], number))
    order = np.random.default_rng(seed).permutation(len(names))
    return [by_name[place] for place in order]


def split_folds(names: Sequence[str], folds: int, seed: int = 0) -> list[list[int]]:
    """The cases that each fold leaves out, in ascending order; each case is left out once.

    Raises
    ------
    UsageError
        If there are fewer than two folds, or fewer cases than folds.
    """
    if not 2 <= folds <= len(names):
        raise UsageError(
            f"{len(names)} cases cannot be split into {folds} folds.", "Give 2 folds or more, and a case for each."
        )
    order = shuffled(names, seed)
    return [sorted(order[first::folds]) for first in range(folds)]


def hold_out(names: Sequence[str], count: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Numbers of the cases to learn from and of the ``count`` to validate with, both in ascending order.

    Raises
    ------
    UsageError
        If no case would be left to learn from.
    """
    if not 1 <= count < len(names):
        raise UsageError(
            f"{count} of {len(names)} cases cannot be kept for validation.", "Keep at least one to learn from."
        )
    order = shuffled(names, seed)
    return sorted(order[count:]), sorted(order[:count])
