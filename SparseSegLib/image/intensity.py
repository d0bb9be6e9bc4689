"""Gray values on a scale that networks can work with."""

from __future__ import annotations

from collections.abc import Callable

import torch


def normalize(image: torch.Tensor) -> torch.Tensor:
    """Bring the 1st to 99th percentile of each channel of ``(C, Z, Y, X)`` to −1…1, and clip at −2 and 2."""
    out = torch.empty_like(image)
    for channel, values in enumerate(image):
        sample = values.flatten()[:: max(1, values.numel() // 1_000_000)]
        low, high = limits(sample, lambda values=values: (values.min(), values.max()))  # type: ignore[misc]
        scaled(values, low, high, out=out[channel])
    return out


def limits(
    sample: torch.Tensor, extremes: Callable[[], tuple[torch.Tensor | float, torch.Tensor | float]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The 1st and 99th percentile of a ``sample``; the ``extremes`` of all gray values where these are the same."""
    low, high = torch.quantile(sample, torch.tensor([0.01, 0.99], device=sample.device))
    if high <= low:
        low, high = (torch.as_tensor(value, device=sample.device) for value in extremes())
    return low, high


def scaled(values: torch.Tensor, low: torch.Tensor, high: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Bring ``low`` to ``high`` to −1…1 and clip at −2 and 2, into ``out``."""
    torch.sub(values, low, out=out)  # in place: copies of a large region take longer than the sums
    return out.div_((high - low).clamp(min=1e-12)).mul_(2).sub_(1).clamp_(-2, 2)
