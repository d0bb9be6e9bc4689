"""Scores as a table for people and as plain values for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from SparseSegLib.evaluation.metrics import LabelScores

COLUMNS = (
    ("dice", "Dice", ".3f"),
    ("iou", "IoU", ".3f"),
    ("hausdorff", "HD mm", ".2f"),
    ("hausdorff95", "HD95 mm", ".2f"),
    ("average_surface_distance", "ASD mm", ".2f"),
    ("volume", "ml", ".2f"),
    ("reference_volume", "ref. ml", ".2f"),
)


def scores_as_dict(scores: Sequence[LabelScores]) -> list[dict[str, Any]]:
    """Plain values for JSON; what is not a number becomes None."""
    return [
        {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
        for row in map(asdict, scores)
    ]


def scores_as_table(scores: Sequence[LabelScores]) -> str:
    """A line per label, columns aligned."""
    width = max([5, *(len(row.name) for row in scores)])
    lines = [f"{'label':{width}}" + "".join(f"{title:>10}" for _, title, _ in COLUMNS)]
    for row in scores:
        cells = (format(getattr(row, key), form) for key, _, form in COLUMNS)
        lines.append(f"{row.name:{width}}" + "".join(f"{'–' if cell == 'nan' else cell:>10}" for cell in cells))
    return "\n".join(lines)
