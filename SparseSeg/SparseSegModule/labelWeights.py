"""Cases whose labels had a low weight in a training with "Some labels may be wrong"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIGHT = 0.5
"""Below this fraction of the mean weight, labels are worth a look."""


def lightCases(figures: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Names and weights of the cases with low label weights, the lowest first; 1 is the mean weight.

    ``figures`` are those of a training's result; one without label weights has none to name.
    """
    weights = [(str(one["case"]), float(one["mean"])) for one in figures.get("label_weights", ())]
    return sorted((pair for pair in weights if pair[1] < LIGHT), key=lambda pair: pair[1])
