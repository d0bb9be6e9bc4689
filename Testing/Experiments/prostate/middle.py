"""The middle of a field of view, where the target of a scan lies, and normalization by its gray values."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from SparseSegLib.image import Box

SAMPLE = 1_000_000  # voxels that percentiles are taken from


def middle_box(shape: Sequence[int], size: Sequence[int]) -> Box:
    """The box of ``size`` (y, x) voxels, over all slices, around the middle of ``shape`` (z, y, x), within that."""
    sides = [min(part, whole) for part, whole in zip(size, shape[1:], strict=True)]
    starts = [(whole - side) // 2 for whole, side in zip(shape[1:], sides, strict=True)]
    y, x = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return slice(0, shape[0]), y, x


def normalize_by_middle(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Bring the 1st to 99th percentile of the middle of each channel to −1…1, and clip at −2 and 2.

    Parameters
    ----------
    image : (C, Z, Y, X)
    size : (y, x) voxels of the middle, which has all slices
    """
    box = middle_box(image.shape[1:], size)
    out = torch.empty_like(image)
    for channel, values in enumerate(image):
        seen = values[box].flatten()
        seen = seen[:: max(1, seen.numel() // SAMPLE)]
        low, high = torch.quantile(seen, torch.tensor([0.01, 0.99], device=seen.device))
        if high <= low:
            low, high = values.min(), values.max()
        out[channel] = ((values - low) / (high - low).clamp(min=1e-12) * 2 - 1).clamp(-2, 2)
    return out
