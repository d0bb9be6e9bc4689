"""Classical methods to compare with, on the same annotated slices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.comparison.forest import random_forest
from SparseSegLib.comparison.slicer_engines import fill_between_slices, grow_from_seeds
from SparseSegLib.comparison.walker import random_walker
from SparseSegLib.densify.region import region_of_interest
from SparseSegLib.image import Box, Volume

Method = Callable[[np.ndarray, np.ndarray, tuple[float, float, float], Box], np.ndarray]

METHODS: dict[str, Method] = {
    "Fill between slices": fill_between_slices,
    "Grow from seeds": grow_from_seeds,
    "Random walker": random_walker,
    "Random forest": random_forest,
}
"""The methods by the names that users know; each takes the whole image and labels ``(Z, Y, X)``, the
spacing (z, y, x) in mm and the region of interest, and returns the classes in that region."""


def segment_with(name: str, volume: Volume, labels: SparseLabels, margin: float = 0.1) -> np.ndarray:
    """Run one of ``METHODS`` under SparseSeg's own conditions; ``(Z, Y, X)`` uint8.

    Like SparseSeg it works inside the region of interest (outside is background), on the first channel, and the
    annotated voxels of its result are the annotation.
    """
    box = region_of_interest(labels, margin)
    drawn = labels.array[box]
    region = METHODS[name](volume.array[0], labels.array, volume.geometry.spacing, box)
    out = np.zeros(labels.array.shape, np.uint8)
    out[box] = np.where(drawn == UNLABELED, region, drawn)
    return np.where(labels.array == UNLABELED, out, labels.array).astype(np.uint8)


__all__ = ["METHODS", "Method", "segment_with"]
