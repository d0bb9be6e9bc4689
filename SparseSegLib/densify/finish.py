"""From class probabilities on the working grid to labels and uncertainty on the volume's own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.densify.next_slice import suggest_slice
from SparseSegLib.densify.problem import Problem

SLAB_VOXELS = 4_000_000


def region_labels(
    problem: Problem, probabilities: torch.Tensor, *, uncertainty: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels (uint8) and, if wanted, uncertainty (float32) on the region of interest, ``(z, y, x)``.

    Works through the region in slabs, so that memory stays bounded. The user's labels win.
    """
    shape = problem.region_shape
    labels = np.empty(shape, np.uint8)
    entropy = np.empty(shape, np.float32) if uncertainty else None
    depth = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], depth):
        stop = min(start + depth, shape[0])
        part = problem.to_region(probabilities, start, stop)
        labels[start:stop] = most_probable(part).numpy()
        if entropy is not None:
            entropy[start:stop] = uncertainty_of(part).numpy()
    drawn = problem.full.array[problem.box]
    labeled = drawn != UNLABELED
    labels[labeled] = drawn[labeled]
    if entropy is not None:
        entropy[labeled] = 0
    return labels, entropy


def uncertainty_of(probabilities: torch.Tensor) -> torch.Tensor:
    """Entropy of class probabilities ``(K, ...)`` over its maximum, from 0 to 1."""
    return (torch.special.entr(probabilities).sum(0) / math.log(len(probabilities))).clamp(0, 1)


def plane_labels(problem: Problem, planes: Sequence[Plane], found: Sequence[torch.Tensor]) -> np.ndarray:
    """Labels (uint8) of some slices, ``UNLABELED`` elsewhere, on the region of interest ``(z, y, x)``.

    Parameters
    ----------
    problem : Problem
    planes : of the volume, in the region of interest
    found : class probabilities ``(K, U, V)`` of each, on the working grid
    """
    labels = np.full(problem.region_shape, UNLABELED, np.uint8)
    drawn = problem.full.array[problem.box]
    for plane, probabilities in zip(planes, found, strict=True):
        at = Plane(plane.axis, plane.index - problem.box[plane.axis].start).voxels
        own = drawn[at]
        factors = [factor for axis, factor in enumerate(problem.factors) if axis != plane.axis]
        size = [count * factor for count, factor in zip(probabilities.shape[1:], factors, strict=True)]
        fine = F.interpolate(probabilities[None], size=size, mode="bilinear", align_corners=False)[0]
        classes = most_probable(fine[:, : own.shape[0], : own.shape[1]]).numpy()
        labels[at] = np.where(own != UNLABELED, own, classes)
    return labels


def most_probable(probabilities: torch.Tensor) -> torch.Tensor:
    """The class with the highest of ``probabilities`` ``(K, ...)``, uint8; many times as fast as argmax over planes."""
    best = probabilities[0]
    found = torch.zeros(best.shape, dtype=torch.uint8)
    for number, other in enumerate(probabilities[1:], start=1):
        found.masked_fill_(other > best, number)
        best = torch.maximum(best, other)
    return found


def whole(problem: Problem, region: np.ndarray, dtype: type) -> np.ndarray:
    """Put a region back into the whole volume; outside of it is 0, or what the user labeled there (for labels)."""
    out: np.ndarray = np.zeros(problem.full.array.shape, dtype)
    out[problem.box] = region
    return out


def suggest(
    problem: Problem, labels: np.ndarray, entropy: np.ndarray, step: tuple[int, int, int] = (1, 1, 1)
) -> Plane | None:
    """The next slice worth annotating, on the volume's own grid; labels and uncertainty are the region's.

    Of a large region each ``step``-th voxel (z, y, x) is enough.
    """
    planes = [Plane(one.axis, one.index // step[one.axis]) for one in problem.full.crop(problem.box).planes]
    some = tuple(slice(None, None, one) for one in step)
    z, y, x = (own * one for own, one in zip(problem.full.geometry.spacing, step, strict=True))
    plane = suggest_slice(entropy[some], labels[some] > 0, tuple(planes), (z, y, x))
    return None if plane is None else Plane(plane.axis, plane.index * step[plane.axis] + problem.box[plane.axis].start)
