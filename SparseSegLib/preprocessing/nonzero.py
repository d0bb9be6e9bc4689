"""Normalization of skull-stripped images, over their non-zero voxels."""

from __future__ import annotations

import torch


def normalize_nonzero(image: torch.Tensor) -> torch.Tensor:
    """Bring each channel's voxels but zeros to mean 0 and standard deviation 1 (Myronenko 2018, section 3.7).

    ``image`` is ``(C, Z, Y, X)``; zeros stay zero. A channel whose voxels all have one value becomes zero.
    """
    out = torch.zeros_like(image)
    for channel, values in enumerate(image):
        inside = values != 0
        if inside.any():
            seen = values[inside]
            out[channel, inside] = (seen - seen.mean()) / seen.std(correction=0).clamp(min=1e-6)
    return out
