"""Random scanner artifacts: coils, resolution, noise, gray scale; on the device that trains."""

from __future__ import annotations

import torch

from Experiments.prostate.scanner import bent, coarser, normalized, smooth_noise
from SparseSegLib.augmentation.histogram import match_histograms

BIAS = 0.4  # the highest standard deviation of the logarithm of the bias field
NOISE = 0.12  # the highest standard deviation of noise, the gray values running from −1 to 1
THICKEST = (5.0, 2.5, 2.5)  # (z, y, x) mm
RESCALED = 0.12  # a window's percentiles are not the whole volume's
LEAST_SEEN = 0.7  # fraction of an axis that a narrow field of view still shows


def vary(image: torch.Tensor, tables: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
    """Change the gray scale of a real image ``(z, y, x)``: another scan's histogram, gamma.

    ``tables`` (N, levels) are the quantiles of the other scans (see ``quantile_tables``), or None.
    """
    device = generator.device
    chance, which = torch.rand(2, generator=generator, device=device).tolist()
    if tables is not None and chance < 0.5:
        table = tables[int(which * len(tables))]
        image = match_histograms(image[None, None], table[None, None])[0, 0]
    return bent(image, 0.3, generator)


def degrade(image: torch.Tensor, spacing: tuple[float, float, float], generator: torch.Generator) -> torch.Tensor:
    """A painted or real image ``(z, y, x)`` as a scanner would show it: −1 to 1 about, within ±2.

    In this order: bias field, thick slices and coarse pixels, noise, gamma, normalization that is a little off.
    ``spacing`` is (z, y, x) mm.
    """
    device = generator.device
    bias, noise, *rest = torch.rand(5, generator=generator, device=device).tolist()
    low = image.min()
    field = torch.exp(BIAS * bias * smooth_noise(image.shape, max(image.shape) / 2.5, generator))
    image = (image - low) * field + low
    image = coarser(image, spacing, THICKEST, rest)
    image = image + NOISE * noise**2 * torch.randn(image.shape, generator=generator, device=device)
    image = bent(normalized(image), 0.15, generator)
    stretch, shift = (RESCALED * torch.randn(2, generator=generator, device=device)).tolist()
    return (image * (1 + stretch) + shift).clamp(-2, 2)


def hide_borders(
    image: torch.Tensor, target: torch.Tensor, unlabeled: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A narrower field of view: beyond random borders ``(z, y, x)`` the image repeats its border voxels, unlabeled."""
    draws = torch.rand(3, 2, generator=generator, device=generator.device).tolist()
    for axis, (much, where) in enumerate(draws):
        size = image.shape[axis]
        hidden = int(size * (1 - LEAST_SEEN) * much)
        first = int(hidden * where)
        shown = torch.arange(size, device=image.device).clamp(first, first + size - hidden - 1)
        image, target = image.index_select(axis, shown), target.index_select(axis, shown)
        for start, stop in ((0, first), (first + size - hidden, size)):
            target.narrow(axis, start, stop - start).fill_(unlabeled)
    return image, target
