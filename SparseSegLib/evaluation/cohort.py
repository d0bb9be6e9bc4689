"""Scores of many cases: mean and spread for each label, and the worst cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from SparseSegLib.evaluation.metrics import LabelScores


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case."""

    name: str
    labels: tuple[LabelScores, ...]


@dataclass(frozen=True)
class Spread:
    """Statistics of a measure over the cases in which it is a number.

    Attributes
    ----------
    count : of these cases
    mean, deviation, median, low, high : NaN without any; the deviation (of a sample) with fewer than two
    """

    count: int
    mean: float
    deviation: float
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarize values; those that are not finite are left out."""
        array = np.array([value for value in values if math.isfinite(value)])
        if not array.size:
            return cls(0, *[math.nan] * 5)
        deviation = float(array.std(ddof=1)) if array.size > 1 else math.nan
        middle, low, high = float(np.median(array)), float(array.min()), float(array.max())
        return cls(array.size, float(array.mean()), deviation, middle, low, high)


@dataclass(frozen=True)
class LabelSummary:
    """A structure over all cases that have it, in the result or in the reference.

    Attributes
    ----------
    label, name : of the first of these cases
    measures : by the name of the attribute of ``LabelScores``
    worst : (Dice, case), the lowest first
    """

    label: int
    name: str
    measures: dict[str, Spread]
    worst: tuple[tuple[float, str], ...]


FORMULA = ("=", "+", "-", "@")
"""First characters of cells that spreadsheets compute."""

MEASURES = (
    "dice",
    "iou",
    "hausdorff",
    "hausdorff95",
    "average_surface_distance",
    "relative_volume_difference",
    "volume",
    "reference_volume",
)


def summarize(cases: Sequence[CaseScores], worst: int = 5) -> tuple[LabelSummary, ...]:
    """Every structure over all cases; the ``worst`` cases of each are named.

    Labels of one name are one structure, whatever their values; a label without a name is called by its value.
    """
    rows: dict[str, list[tuple[str, LabelScores]]] = {}
    for case in cases:
        for row in case.labels:
            rows.setdefault(plain_name(row.name), []).append((case.name, row))
    found = []
    for named in rows.values():
        measures = {name: Spread.of(getattr(row, name) for _, row in named) for name in MEASURES}
        lowest = tuple(sorted((row.dice, name) for name, row in named)[:worst])
        found.append(LabelSummary(named[0][1].label, named[0][1].name, measures, lowest))
    return tuple(sorted(found, key=lambda summary: summary.label))


def cell_text(text: str) -> str:
    """A name in a table's cell: what can be seen of it, with a mark before it where it would be a formula."""
    plain = "".join(letter for letter in text if letter.isprintable())
    return f"'{plain}" if plain.startswith(FORMULA) else plain


def plain_name(name: str) -> str:
    """The normalized name of a structure, without case and outer spaces."""
    return name.strip().casefold()
