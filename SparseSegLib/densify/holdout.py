"""Held-out slices: which annotated slices are kept from the training at first, and how well predictions fit them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, values_in
from SparseSegLib.densify.finish import most_probable
from SparseSegLib.densify.weighting import blended

SHARE = 0.25
FEWEST_PLANES = 3
USUAL = 0.4  # logarithm of the odds by which results are better than expected from their own probabilities
FEW_NUMBERS = 400_000  # of all experts' predictions on the held-out slices, where they have to be few
AS_MUCH_AS = 4  # held-out slices tell as much of the rest as the usual difference does


def choose_held_out(labels: SparseLabels, learned: Collection[Plane] = ()) -> frozenset[Plane]:
    """The planes to hold out: about a quarter, from the middle of each orientation in turn.

    None where fewer than three planes are annotated, or where what is left would not show every class; none that the
    network was trained on before (``learned``), whose scores would be too high.
    """
    planes = labels.planes
    if len(planes) < FEWEST_PLANES:
        return frozenset()
    by_axis: dict[int, list[Plane]] = {}
    for plane in planes:
        if plane not in learned:
            by_axis.setdefault(plane.axis, []).append(plane)
    middles = [group[len(group) // 2] for group in sorted(by_axis.values(), key=len, reverse=True)]
    everything = _classes(labels)
    chosen: list[Plane] = []
    for plane in middles[: max(1, round(SHARE * len(planes)))]:
        if _classes(labels.without(*chosen, plane)) == everything:
            chosen.append(plane)
    return frozenset(chosen)


@dataclass(frozen=True)
class HeldOut:
    """Predictions of the experts on held-out slices.

    Attributes
    ----------
    drawn : (N,) uint8, the labels of the labeled pixels
    found : by the experts' names, class probabilities ``(K, N)`` there
    slices : how many slices
    """

    drawn: torch.Tensor
    found: Mapping[str, torch.Tensor]
    slices: int

    @classmethod
    def of(cls, labels: SparseLabels, planes: Sequence[Plane], found: Mapping[str, Sequence[torch.Tensor]]) -> HeldOut:
        """From the class probabilities ``(K, U, V)`` of each expert on each of the planes."""
        drawn = [torch.from_numpy(np.take(labels.array, plane.index, plane.axis)) for plane in planes]
        labeled = [slice_ != UNLABELED for slice_ in drawn]
        return cls(
            torch.cat([slice_[seen] for slice_, seen in zip(drawn, labeled, strict=True)]),
            {
                name: torch.cat([own[:, seen] for own, seen in zip(slices, labeled, strict=True)], 1)
                for name, slices in found.items()
            },
            len(planes),
        )

    def estimate(self, weights: Mapping[str, np.ndarray], rest: np.ndarray) -> float | None:
        """IoU to expect of a prediction with such weights of the experts, the mean over the structures.

        ``rest`` are its :func:`expected_counts` off the labels. None where no expert with a weight is known.
        """
        blend = {name: own for name, own in weights.items() if name in self.found}
        if not blend:
            return None
        judged = blended(blend, {name: partial(self.found.__getitem__, name) for name in blend})
        found = corrected_iou(
            iou_of(overlaps(judged, self.drawn)), expected_iou(expected_counts(judged)), expected_iou(rest), self.slices
        )
        return None if np.isnan(found).all() else float(np.nanmean(found))

    def with_more(self, more: HeldOut) -> HeldOut:
        """These slices and further ones, as far as the same experts predicted both."""
        found = {name: torch.cat([own, more.found[name]], 1) for name, own in self.found.items() if name in more.found}
        return HeldOut(torch.cat([self.drawn, more.drawn]), found, self.slices + more.slices)

    def state(self, *, small: bool = False) -> dict[str, Any]:
        """The state that :meth:`restored` takes, with every n-th pixel if it has to be ``small``."""
        numbers = sum(own.numel() for own in self.found.values())
        step = -(-numbers // FEW_NUMBERS) if small and numbers else 1
        found = {name: own[:, ::step].clone() for name, own in self.found.items()}
        return {"drawn": self.drawn[::step].clone(), "found": found, "slices": self.slices}

    @classmethod
    def restored(cls, state: Mapping[str, Any], classes: int) -> HeldOut:
        """From a checkpoint; ValueError if that is no such thing."""
        drawn, found, slices = state["drawn"], state["found"], int(state["slices"])
        there = torch.is_tensor(drawn) and drawn.ndim == 1 and isinstance(found, dict) and slices >= 0
        if not there or not all(torch.is_tensor(one) and one.shape == (classes, len(drawn)) for one in found.values()):
            raise ValueError("these are no predictions on held-out slices")
        return cls(drawn, {name: one.float() for name, one in found.items()}, slices)


def overlaps(probabilities: torch.Tensor, drawn: torch.Tensor) -> np.ndarray:
    """Voxels of each structure in the intersection and in the union of what is found and drawn, ``(2, K - 1)``.

    ``probabilities`` is ``(K, N)`` and ``drawn`` ``(N,)``.
    """
    found, classes = most_probable(probabilities), len(probabilities)
    counts = np.zeros((2, classes - 1), np.int64)
    for label in range(1, classes):
        ours, theirs = found == label, drawn == label
        counts[0, label - 1], counts[1, label - 1] = int((ours & theirs).sum()), int((ours | theirs).sum())
    return counts


def iou_of(counts: np.ndarray) -> np.ndarray:
    """IoU of each structure ``(K - 1,)`` from :func:`overlaps`; NaN where none is found or drawn."""
    overlap, union = counts
    return np.where(union > 0, overlap / np.maximum(union, 1), np.nan)


def expected_counts(probabilities: torch.Tensor) -> np.ndarray:
    """Expected from class probabilities ``(K, ...)`` themselves, of each structure: ``(3, K - 1)``.

    If they are right, a voxel that is predicted to be of a structure is so with its probability ``p``, and one that is
    not with its own: the sum of ``p`` inside, the count inside, and the sum of ``p`` outside.
    """
    found = most_probable(probabilities)
    counts = np.zeros((3, len(probabilities) - 1))
    for label in range(1, len(probabilities)):
        inside = found == label
        counts[:, label - 1] = (
            float(probabilities[label][inside].sum()),
            float(inside.sum()),
            float(probabilities[label][~inside].sum()),
        )
    return counts


def unlabeled_counts(labels: SparseLabels, probabilities: torch.Tensor) -> np.ndarray:
    """The :func:`expected_counts` of probabilities ``(K, Z, Y, X)`` off the labels on the same grid."""
    return expected_counts(probabilities[:, torch.from_numpy(~labels.labeled)])


def expected_iou(counts: np.ndarray) -> np.ndarray:
    """Expected IoU of each structure ``(K - 1,)`` from :func:`expected_counts`; 0 where none is predicted."""
    overlap, inside, outside = counts
    return np.asarray(overlap / np.maximum(inside + outside, 1e-12))


def corrected_iou(
    measured: np.ndarray, expected_there: np.ndarray, expected_here: np.ndarray, slices: int
) -> np.ndarray:
    """IoU to expect of a whole result, from that measured on held-out slices.

    Slices may be easier or more difficult than the rest, and the result has learned from more than what it was scored
    with. The IoU that is expected from a prediction's own probabilities (see :func:`expected_iou`) shows both. So what
    is taken from the held-out slices is by how much the odds of the IoU differ from the expected odds: as far as there
    are many of them, slices / (slices + ``AS_MUCH_AS``), and for the rest ``USUAL``, the usual difference.
    """

    def logit(iou: np.ndarray) -> np.ndarray:
        bounded = np.clip(iou, 1e-3, 1 - 1e-3)
        return np.asarray(np.log(bounded / (1 - bounded)))

    trust = slices / (slices + AS_MUCH_AS)
    better = trust * (logit(measured) - logit(expected_there)) + (1 - trust) * USUAL
    return np.asarray(1 / (1 + np.exp(-logit(expected_here) - better)))


def _classes(labels: SparseLabels) -> set[int]:
    return set(values_in(labels.array)) - {UNLABELED}
