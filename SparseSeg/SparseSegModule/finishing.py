"""Finishing of dense labels when they are applied: the largest island, filled holes, smooth surfaces."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SMOOTH_MM = 1.0
"""Standard deviation of the smoothing, in units of the finest spacing."""


WAYS = ("largestIsland", "fillHoles", "smooth")


def finished(
    labels: np.ndarray,
    spacing: tuple[float, float, float],
    *,
    largestIsland: bool = False,
    fillHoles: bool = False,
    smooth: bool = False,
) -> np.ndarray:
    """Dense labels ``(Z, Y, X)`` uint8, finished structure by structure; a structure takes no voxel of another one.

    Parameters
    ----------
    labels : 0 for background, 1..n
    spacing : (z, y, x) in mm
    largestIsland : keep the largest connected part of each structure
    fillHoles : fill what is enclosed by a structure
    smooth : smooth each structure's surface over about a voxel
    """
    if not (largestIsland or fillHoles or smooth):
        return labels
    out = labels.copy()
    for value in np.unique(labels[labels > 0]):
        own = labels == value
        mask = own
        if smooth:
            sigma = [SMOOTH_MM * min(spacing) / step for step in spacing]
            mask = ndimage.gaussian_filter(mask.astype(np.float32), sigma) > 0.5
        if largestIsland:
            mask = _largest(mask)
        if fillHoles:
            mask = ndimage.binary_fill_holes(mask)
        out[own & ~mask] = 0
        out[mask & (out == 0)] = value
    return out


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(parts == 1 + np.bincount(parts.ravel())[1:].argmax())
