"""Active learning: the volume of a cohort to annotate next, and its slice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.image import Geometry, resample
from SparseSegLib.prediction.components import largest_component

FAINT = 0.1
CERTAIN = 0.5
REACH = 0.1  # of the structures' extent: slices that lie as near in theirs show much the same

Extent = tuple[int, int]
"""First and last slice along an axis that show the structures."""


@dataclass(frozen=True, eq=False)
class CaseView:
    """A model's prediction of a volume, summarized.

    Attributes
    ----------
    name : of the case
    expected_dice : what the model expects its segmentation to reach, mean over the structures, 0 to 1
    extents : where it finds structures along z, y and x, on the volume's own grid
    areas : along each axis, how much of the structures it finds in every slice, as a fraction of the largest
    planes : the slices that are annotated already
    """

    name: str
    expected_dice: float
    extents: tuple[Extent, Extent, Extent]
    areas: tuple[np.ndarray, np.ndarray, np.ndarray]
    planes: tuple[Plane, ...] = ()

    def place(self, plane: Plane) -> float:
        """The relative position of a plane in the structures' extent, from 0 to 1."""
        first, last = self.extents[plane.axis]
        return (plane.index - first) / max(1, last - first)


@dataclass(frozen=True)
class Suggestion:
    """A slice worth annotating.

    Attributes
    ----------
    name : of the case
    expected_dice : what the model expects its segmentation of the case to reach, 0 to 1
    plane : the slice, on the volume's own grid
    annotated : how many slices of the case are annotated already, those suggested before it included
    """

    name: str
    expected_dice: float
    plane: Plane
    annotated: int


def view_case(
    name: str, probabilities: torch.Tensor, grid: Geometry, target: Geometry, planes: tuple[Plane, ...] = ()
) -> CaseView:
    """Summarize a model's prediction of one volume.

    Parameters
    ----------
    name : of the case
    probabilities : (K, Z, Y, X) of the classes on ``grid``, background first
    target : the volume's own grid
    planes : its annotated slices, on ``target``
    """
    chance = resample((1 - probabilities[0]).numpy(), grid, target)
    found = largest_component(chance >= min(CERTAIN, float(chance.max()) / 2))
    extents, areas = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        area = np.where(found, chance, 0).sum(others)
        inside = np.flatnonzero(found.any(others))
        extents.append((int(inside[0]), int(inside[-1])))
        areas.append(area / max(float(area.max()), 1e-6))
    z, y, x = extents
    return CaseView(name, expected_dice(probabilities), (z, y, x), (areas[0], areas[1], areas[2]), planes)


def suggest_slices(views: Iterable[CaseView], count: int = 1) -> list[Suggestion]:
    """Up to ``count`` slices to annotate next, the most promising first; each takes those before it as annotated.

    What a model learns from a few slices of many volumes depends on how well they complete each other: a cohort whose
    slices all lie in the middle never shows where the structure ends. So the volumes with the fewest annotated slices
    come first. The slice is the one that shows most of the structures for each slice, itself included, that lies near
    its place in the structures' extent, along the same axis, over all volumes.

    Uncertainty chooses neither. While a model has learned little, it is uncertain on slices that show nothing, and on
    the same ones in every volume; and the volumes with the lowest expected Dice are outliers, which help the others
    least. Among volumes with as many slices those with the highest expected Dice come first: they are like many, and
    there the suggested place is found reliably. The others follow, in the same round.
    """
    known = {view.name: view for view in views}
    found = []
    for _ in range(count):
        order = sorted(known.values(), key=lambda view: (len(view.planes), -view.expected_dice, view.name))
        choices = ((view, _best_plane(view, order)) for view in order)
        view, plane = next(((view, plane) for view, plane in choices if plane is not None), (None, None))
        if view is None or plane is None:
            break
        found.append(Suggestion(view.name, view.expected_dice, plane, len(view.planes)))
        known[view.name] = replace(view, planes=(*view.planes, plane))
    return found


def expected_dice(probabilities: torch.Tensor) -> float:
    """The Dice that the most probable labels would have if the probabilities were right, mean over the structures.

    For a structure with the probability p in each voxel, found in the voxels S, it is 2·Σ_S p / (|S| + Σ p): close to 1
    where the model is sure of every voxel, 0 where it does not find the structure at all. Probabilities below ``FAINT``
    are left out: over a large background they would add up to more than the structure.
    """
    found = probabilities.argmax(0)
    values = []
    for label in range(1, len(probabilities)):
        there, chance = found == label, probabilities[label].double()
        chance = chance * (chance >= FAINT)
        total = float(there.sum() + chance.sum())
        values.append(2 * float(chance[there].sum()) / total if total else 0.0)
    return float(np.mean(values)) if values else 0.0


def _best_plane(view: CaseView, views: Sequence[CaseView]) -> Plane | None:
    best, most = None, 0.0
    for axis in range(3):
        taken = [one.place(plane) for one in views for plane in one.planes if plane.axis == axis]
        first, last = view.extents[axis]
        for index in range(first, last + 1):
            plane = Plane(axis, index)
            if plane in view.planes:
                continue
            distance = (view.place(plane) - np.array(taken)) / REACH
            crowd = float(np.exp(-np.square(distance) / 2).sum())
            gain = float(view.areas[axis][index]) / (1 + crowd)
            if gain > most:
                best, most = plane, gain
    return best
