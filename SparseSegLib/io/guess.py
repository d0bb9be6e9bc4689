"""Whether an image is more likely a volume or labels."""

from __future__ import annotations

import numpy as np

MOST_VALUES = 256
FEW_VALUES = 8
ALIKE = 0.6  # fraction of neighbors in labels that have the same value


def looks_like_labels(array: np.ndarray) -> bool:
    """Guess from the voxels (C, Z, Y, X): labels are whole numbers of 0 or more, few of them, in large areas."""
    if array.shape[0] != 1 or array.dtype.kind not in "iu" or array.min() < 0:
        return False
    values = np.unique(array[0])
    if not 1 < len(values) <= MOST_VALUES:
        return False
    if len(values) <= FEW_VALUES:
        return True
    left, right = array[0, :, :, :-1], array[0, :, :, 1:]
    counted = (left != 0) | (right != 0)
    count = int(counted.sum())
    return count > 0 and int(((left == right) & counted).sum()) >= ALIKE * count
