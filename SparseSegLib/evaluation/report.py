"""Scores as a table for people and as plain values for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from SparseSegLib.evaluation.metrics import LabelScores
from SparseSegLib.evaluation.units import LENGTHS, VOLUMES, number_text, suitable_unit

TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "hausdorff": "HD",
    "hausdorff95": "HD95",
    "average_surface_distance": "ASD",
    "volume": "",
    "reference_volume": "ref.",
}
FORMS = {"dice": ".3f", "iou": ".3f"}


def scores_as_dict(scores: Sequence[LabelScores]) -> list[dict[str, Any]]:
    """Plain values for JSON; what is not a number becomes None."""
    return [
        {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
        for row in map(asdict, scores)
    ]


def scores_as_table(scores: Sequence[LabelScores]) -> str:
    """A line per label, columns aligned, in units in which the figures can be read."""
    columns = []
    for units, keys in (
        (None, ("dice", "iou")),
        (LENGTHS, ("hausdorff", "hausdorff95", "average_surface_distance")),
        (VOLUMES, ("volume", "reference_volume")),
    ):
        values = [getattr(row, key) for row in scores for key in keys]
        unit, factor = suitable_unit(values, units) if units else ("", 1.0)
        columns += [(key, f"{TITLES[key]} {unit}".strip(), factor) for key in keys]
    width = max([5, *(len(row.name) for row in scores)])
    lines = [f"{'label':{width}}" + "".join(f"{title:>10}" for _, title, _ in columns)]
    for row in scores:
        cells = (number_text(factor * getattr(row, key), FORMS.get(key, ".2f")) for key, _, factor in columns)
        lines.append(f"{row.name:{width}}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)
