"""Sampling of training patches around labeled voxels, all classes with the same probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SparseSegLib.annotation import UNLABELED


class PatchSampler:
    """Draws centers of patches from the labeled voxels of a volume, a random class first.

    Parameters
    ----------
    labels : (Z, Y, X) uint8 with ``UNLABELED``; at least one voxel labeled
    rng : np.random.Generator
    """

    def __init__(self, labels: np.ndarray, rng: np.random.Generator) -> None:
        self.rng = rng
        self._places = [np.argwhere(labels == label) for label in np.unique(labels[labels != UNLABELED])]

    def center(self) -> tuple[int, int, int]:
        """(z, y, x) index of a labeled voxel."""
        places = self._places[int(self.rng.integers(len(self._places)))]
        z, y, x = places[int(self.rng.integers(len(places)))]
        return int(z), int(y), int(x)


def within(center: Sequence[float], patch: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """(z, y, x) of the middle of a patch that is moved into a volume of ``shape``; a smaller volume's own."""
    half, sides = (np.array(patch) - 1) / 2, np.array(shape)
    last = sides - 1 - half
    return np.where(half < last, np.clip(center, half, np.maximum(half, last)), (sides - 1) / 2)
