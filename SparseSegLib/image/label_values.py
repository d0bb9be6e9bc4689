"""How often each value occurs among labels."""

from __future__ import annotations

import numpy as np


def counts_in(labels: np.ndarray) -> np.ndarray:
    """How often each of the values 0 to 255 occurs in ``(Z, Y, X)`` uint8, ``(256,)``.

    Quick where most voxels of a slice have the value of its first one, as in sparse labels.
    """
    counts = np.zeros(256, np.int64)
    for plane in labels:
        usual = plane.flat[0]
        others = plane[plane != usual]
        counts += np.bincount(others, minlength=256)
        counts[usual] += plane.size - others.size
    return counts
