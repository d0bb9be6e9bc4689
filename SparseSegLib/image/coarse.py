"""Coarser grids: whole blocks of voxels become one."""

from __future__ import annotations

from collections.abc import Sequence

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


def coarser_factors(spacing: tuple[float, float, float], coarser: float) -> tuple[int, int, int]:
    """Whole factors (z, y, x) for voxels up to ``coarser`` times as long as the shortest side of a voxel is."""
    z, y, x = (max(1, int(coarser * min(spacing) / step + 1e-6)) for step in spacing)
    return z, y, x


def block_means(image: torch.Tensor, factors: tuple[int, int, int]) -> torch.Tensor:
    """Means over the blocks of ``(C, Z, Y, X)``; the last, incomplete blocks are filled by repeating the border."""
    if factors == (1, 1, 1):
        return image
    missing = [-size % factor for size, factor in zip(image.shape[1:], factors, strict=True)]
    padding = [part for count in reversed(missing) for part in (0, count)]
    return F.avg_pool3d(F.pad(image[None], padding, mode="replicate"), factors)[0]


def between_blocks(
    values: torch.Tensor, factors: Sequence[int], places: Sequence[Sequence[float] | np.ndarray]
) -> torch.Tensor:
    """Values ``(..., z, y, x)`` of blocks of ``factors`` voxels, linearly interpolated at some voxels.

    ``places`` are their indices, or places between them, along (z, y, x), of which every combination is meant. What
    lies beyond the middles of the outermost blocks has the values there.
    """
    for axis, (factor, along) in enumerate(zip(factors, places, strict=True)):
        if factor == 1 and len(along) == values.shape[axis - 3] and along[0] == 0:
            continue
        last = values.shape[axis - 3] - 1
        place = ((torch.tensor([*along], dtype=torch.float32) + 0.5) / factor - 0.5).clamp(0, last)
        low = place.long()
        share = (place - low).view(-1, *[1] * (2 - axis))
        below, above = (
            values.index_select(values.ndim + axis - 3, index) for index in (low, (low + 1).clamp(max=last))
        )
        values = torch.lerp(below, above, share)
    return values
