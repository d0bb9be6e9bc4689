"""Which volume of a cohort to annotate next, and which slice of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.densify.next_slice import suggest_slice
from SparseSegLib.geometry import Geometry, resample

FAINT = 0.1


@dataclass(frozen=True)
class Suggestion:
    """What annotating a volume promises.

    Attributes
    ----------
    name : of the case
    expected_dice : what the model expects its segmentation to reach, mean over the structures, 0 to 1
    plane : the slice to annotate, on the volume's own grid; None where nothing is unsure
    annotated : how many slices of it are annotated already
    """

    name: str
    expected_dice: float
    plane: Plane | None
    annotated: int = 0

    @property
    def gain(self) -> float:
        """What the next slice promises: the missing Dice, shared by the slices that are there and the new one.

        A volume that has slices already teaches less than one of which the model has seen nothing.
        """
        return (1 - self.expected_dice) / (1 + self.annotated)


def suggest_case(
    name: str, probabilities: torch.Tensor, grid: Geometry, target: Geometry, planes: tuple[Plane, ...] = ()
) -> Suggestion:
    """Look at a model's answer for one volume.

    Parameters
    ----------
    name : of the case
    probabilities : (K, Z, Y, X) of the classes on ``grid``, background first
    target : the volume's own grid
    planes : its annotated slices, on ``target``
    """
    unsure = resample(uncertainty(probabilities), grid, target)
    for plane in planes:
        unsure[plane.voxels] = 0
    best = suggest_slice(unsure, planes, target.spacing)
    return Suggestion(name, expected_dice(probabilities), best, len(planes))


def rank(suggestions: Iterable[Suggestion]) -> list[Suggestion]:
    """The suggestions, that of the largest gain first; those without a slice last."""
    return sorted(suggestions, key=lambda one: (one.plane is None, -one.gain, one.name))


def expected_dice(probabilities: torch.Tensor) -> float:
    """The Dice that the most probable labels would have if the probabilities were right, mean over the structures.

    For a structure with the probability p in each voxel, found in the voxels S, it is 2·Σ_S p / (|S| + Σ p): close to 1
    where the model is sure of every voxel, 0 where it doubts but does not find the structure at all. Chances below
    ``FAINT`` are left out: over a large background they would add up to more than the structure.
    """
    found = probabilities.argmax(0)
    values = []
    for label in range(1, len(probabilities)):
        there, chance = found == label, probabilities[label].double()
        chance = chance * (chance >= FAINT)
        total = float(there.sum() + chance.sum())
        values.append(2 * float(chance[there].sum()) / total if total else 0.0)
    return float(np.mean(values)) if values else 0.0


def uncertainty(probabilities: torch.Tensor) -> np.ndarray:
    """Entropy of the classes in each voxel ``(Z, Y, X)`` of probabilities (K, Z, Y, X), from 0 to 1."""
    entropy = -torch.xlogy(probabilities, probabilities).sum(0) / math.log(len(probabilities))
    return entropy.clamp(0, 1).numpy().astype(np.float32)
