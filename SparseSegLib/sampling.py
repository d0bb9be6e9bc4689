"""Where training patches are cut: around labeled voxels, all classes alike."""

from __future__ import annotations

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
