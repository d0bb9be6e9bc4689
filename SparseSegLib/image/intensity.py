"""Gray values on a scale that networks can work with."""

from __future__ import annotations

import torch


def normalize(image: torch.Tensor) -> torch.Tensor:
    """Bring the 1st to 99th percentile of each channel of ``(C, Z, Y, X)`` to −1…1, and clip at −2 and 2."""
    out = torch.empty_like(image)
    for channel, values in enumerate(image):
        sample = values.flatten()[:: max(1, values.numel() // 1_000_000)]
        low, high = torch.quantile(sample, torch.tensor([0.01, 0.99], device=sample.device))
        if high <= low:
            low, high = values.min(), values.max()
        torch.sub(values, low, out=out[channel])  # in place: copies of a large region take longer than the sums
        out[channel].div_((high - low).clamp(min=1e-12)).mul_(2).sub_(1).clamp_(-2, 2)
    return out
