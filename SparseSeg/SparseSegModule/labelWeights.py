"""Which cases a training with "Some labels may be wrong" did not trust."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIGHT = 0.5
"""Below this fraction of an even weight, labels are worth a look."""


def lightCases(figures: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Names and weights of the cases whose labels weighed little, the least first; 1 is an even share.

    ``figures`` are those of a training's result; one that did not weigh labels has none to name.
    """
    weights = [(str(one["case"]), float(one["mean"])) for one in figures.get("label_weights", ())]
    return sorted((pair for pair in weights if pair[1] < LIGHT), key=lambda pair: pair[1])
