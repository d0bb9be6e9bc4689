"""The annotation of a volume, and the score of a segmentation made from it."""

from __future__ import annotations

import numpy as np

from SparseSegLib.annotation import SparseLabels, sparsify, sparsify_every
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Volume


def annotate(truth: np.ndarray, volume: Volume, budget: str) -> SparseLabels:
    """The annotation of a budget: ``x,y,z`` slices per axis, or ``everyK`` axial slices."""
    names = names_of(truth)
    if budget.startswith("every"):
        return sparsify_every(truth, volume.geometry, int(budget[5:]), names=names)
    x, y, z = map(int, budget.split(","))
    return sparsify(truth, volume.geometry, (z, y, x), names=names)


def names_of(truth: np.ndarray) -> tuple[str, ...]:
    """What the objects are called."""
    return tuple(f"object {number}" for number in range(1, int(truth.max()) + 1))


def unseen_iou(segmented: np.ndarray, truth: np.ndarray, labels: SparseLabels) -> float:
    """IoU on the voxels that are not labeled, mean over the objects, to four digits."""
    unseen = ~labels.labeled
    objects = range(1, int(truth.max()) + 1)
    return round(float(np.mean([iou((segmented == k) & unseen, (truth == k) & unseen) for k in objects])), 4)
