"""The estimate of the IoU: a few annotated slices are kept from the training for its first part."""

from __future__ import annotations

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.prior import PlaneSource, ScribbleSource

SHARE = 0.25
FEWEST_PLANES = 3


def choose_held_out(sources: list[PlaneSource | ScribbleSource]) -> frozenset[int]:
    """Which planes to hold out: about a quarter, from the middle of each orientation in turn.

    None where fewer than three planes are annotated, or where what is left would not show every class.
    """
    planes = [number for number, source in enumerate(sources) if isinstance(source, PlaneSource)]
    if len(planes) < FEWEST_PLANES:
        return frozenset()
    by_axis: dict[int, list[int]] = {}
    for number in planes:
        by_axis.setdefault(sources[number].axis, []).append(number)  # type: ignore[union-attr]
    middles = [group[len(group) // 2] for group in sorted(by_axis.values(), key=len, reverse=True)]
    chosen: list[int] = []
    for number in middles[: max(1, round(SHARE * len(planes)))]:
        rest = [other for other in range(len(sources)) if other not in chosen and other != number]
        if _classes(sources, rest) == _classes(sources, range(len(sources))):
            chosen.append(number)
    return frozenset(chosen)


def _classes(sources: list[PlaneSource | ScribbleSource], numbers: object) -> set[int]:
    return {label for number in numbers for label in sources[number].values().unique().tolist()}  # type: ignore


def mean_iou(pairs: list[tuple[torch.Tensor, torch.Tensor]], classes: int) -> float | None:
    """Mean IoU over the classes that occur, of predicted against drawn labels ``(U, V)``; unlabeled pixels left out."""
    overlap, union = np.zeros(classes), np.zeros(classes)
    for predicted, drawn in pairs:
        seen = drawn != UNLABELED
        for label in range(1, classes):
            ours, theirs = (predicted == label) & seen, (drawn == label) & seen
            overlap[label] += int((ours & theirs).sum())
            union[label] += int((ours | theirs).sum())
    there = union > 0
    return float((overlap[there] / union[there]).mean()) if there.any() else None
