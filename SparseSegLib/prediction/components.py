"""Connected pieces of a segmentation."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def largest_components(labels: np.ndarray) -> np.ndarray:
    """Labels ``(Z, Y, X)`` with only the largest piece of each; voxels of a piece share faces."""
    out = np.zeros_like(labels)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            out[box][largest_component(labels[box] == value)] = value
    return out


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask ``(Z, Y, X)``; empty if that is."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask.copy()
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()
