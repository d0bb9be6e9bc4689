"""Smooth random fields on a grid of millimeters: what generated shapes and textures are made of."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

Spacing = tuple[float, float, float]
Size = tuple[int, int, int]


def smooth_field(size: Size, spacing: Spacing, width: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field (Z, Y, X) of standard deviation 1, from values ``width`` mm apart.

    ``size`` is (z, y, x) voxels, ``spacing`` (z, y, x) mm.
    """
    coarse = [max(2, round(part * step / width)) for part, step in zip(size, spacing, strict=True)]
    factors = [part / knots for part, knots in zip(size, coarse, strict=True)]
    field = ndimage.zoom(rng.normal(size=coarse), factors, order=3, mode="nearest", grid_mode=True)
    return field / max(1e-6, float(field.std()))
