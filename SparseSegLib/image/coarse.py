"""Coarser grids: whole blocks of voxels become one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def coarsening(shape: tuple[int, ...], spacing: tuple[float, float, float], most_voxels: int) -> tuple[int, int, int]:
    """Whole factors (z, y, x) that bring ``shape`` under ``most_voxels``, the finest axes first."""
    factors = [1, 1, 1]
    while np.prod([-(-size // factor) for size, factor in zip(shape, factors, strict=True)]) > most_voxels:
        finest = int(np.argmin([step * factor for step, factor in zip(spacing, factors, strict=True)]))
        factors[finest] += 1
    return factors[0], factors[1], factors[2]


def block_means(image: torch.Tensor, factors: tuple[int, int, int]) -> torch.Tensor:
    """Means over the blocks of ``(C, Z, Y, X)``; the last, incomplete blocks are filled by repeating the border."""
    if factors == (1, 1, 1):
        return image
    missing = [-size % factor for size, factor in zip(image.shape[1:], factors, strict=True)]
    padding = [part for count in reversed(missing) for part in (0, count)]
    return F.avg_pool3d(F.pad(image[None], padding, mode="replicate"), factors)[0]
