"""What a few annotated slices tell that are kept from the training for its first part: IoU, and how to refine."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels
from SparseSegLib.densify.refinement import CHOICES, USUAL, Refinement, refine
from SparseSegLib.prior import PlaneSource, ScribbleSource

SHARE = 0.25
FEWEST_PLANES = 3
CLEARLY = 0.01  # IoU by which a refinement has to be better than none


def choose_held_out(
    sources: list[PlaneSource | ScribbleSource], learned: Collection[Plane] = frozenset()
) -> frozenset[int]:
    """Which planes to hold out: about a quarter, from the middle of each orientation in turn.

    None where fewer than three planes are annotated, or where what is left would not show every class; none that the
    network has ``learned`` from before, which would not tell how it does on others.
    """
    planes = [number for number, source in enumerate(sources) if isinstance(source, PlaneSource)]
    if len(planes) < FEWEST_PLANES:
        return frozenset()
    by_axis: dict[int, list[int]] = {}
    for number in planes:
        source = sources[number]
        assert isinstance(source, PlaneSource)
        if Plane(source.axis, source.index) not in learned:
            by_axis.setdefault(source.axis, []).append(number)
    middles = [group[len(group) // 2] for group in sorted(by_axis.values(), key=len, reverse=True)]
    chosen: list[int] = []
    for number in middles[: max(1, round(SHARE * len(planes)))]:
        rest = [other for other in range(len(sources)) if other not in chosen and other != number]
        if classes_of(sources, rest) == classes_of(sources, range(len(sources))):
            chosen.append(number)
    return frozenset(chosen)


def classes_of(sources: list[PlaneSource | ScribbleSource], numbers: Iterable[int]) -> set[int]:
    """The classes that some of the sources show."""
    return {label for number in numbers for label in sources[number].values().unique().tolist()}


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


def hidden_iou(probabilities: torch.Tensor, hidden: torch.Tensor, classes: int) -> float | None:
    """Mean IoU over the classes of ``probabilities`` ``(K, Z, Y, X)`` where ``hidden`` is labeled."""
    return mean_iou([(probabilities.argmax(0), hidden)], classes)


def choose_refinement(
    probabilities: torch.Tensor, image: torch.Tensor, labels: SparseLabels, held_out: list[Plane], classes: int
) -> tuple[Refinement | None, float | None]:
    """The refinement that fits the held-out planes best, and the IoU there; None if none is clearly better.

    Parameters
    ----------
    probabilities : Tensor (K, Z, Y, X) of a network that does not know the held-out planes
    image : Tensor (C, Z, Y, X)
    labels : SparseLabels, the held-out planes included
    held_out : the planes
    classes : number of classes, background included
    """
    known = labels
    for plane in held_out:
        known = known.without(plane)
    seen = torch.from_numpy(known.array)
    hidden = torch.from_numpy(np.where(known.labeled, UNLABELED, labels.array))
    plain = hidden_iou(probabilities, hidden, classes)
    if plain is None:
        return USUAL, None
    best, most = None, plain + CLEARLY
    for choice in CHOICES:
        found = hidden_iou(refine(probabilities, image, seen, choice), hidden, classes)
        if found is not None and found > most:
            best, most = choice, found
    return best, plain if best is None else most
