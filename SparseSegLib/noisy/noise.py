"""Labels that are wrong in the way of the thesis's experiments: structures too large or too small."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED


def noisy_labels(labels: np.ndarray, low: int, high: int, rng: np.random.Generator) -> np.ndarray:
    """Labels whose structures are all dilated, or all eroded, by ``low`` to ``high`` voxels (section 3.1).

    Parameters
    ----------
    labels : (Y, X) or (Z, Y, X) integers; 0 is background
    low, high : the number of voxels is drawn between them, both included
    rng : draws it, and whether structures grow or shrink

    Returns
    -------
    Labels of the same shape and type. Growing structures meet half-way; nothing unlabeled becomes labeled.
    """
    amount, grow = int(rng.integers(low, high + 1)), bool(rng.integers(2))
    structures = (labels > 0) & (labels != UNLABELED)
    if not structures.any() or amount == 0:
        return labels.copy()
    if not grow:
        shrunk = labels.copy()
        for value in np.unique(labels[structures]):
            inside = ndimage.distance_transform_edt(np.pad(labels == value, 1, mode="edge"))
            shrunk[(labels == value) & (inside[(slice(1, -1),) * labels.ndim] <= amount)] = 0
        return shrunk
    distance, nearest = ndimage.distance_transform_edt(~structures, return_indices=True)
    grown = np.where(distance <= amount, labels[tuple(nearest)], labels)
    return np.where(labels == UNLABELED, labels, grown).astype(labels.dtype)
