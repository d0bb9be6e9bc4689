"""Random artifacts of coils and scanners in a magnetic resonance image, on the device that trains.

Gray values are those of a normalized image: −1 and 1 are its 1st and 99th percentile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Scanner:
    """Probability and strength of the artifacts.

    Attributes
    ----------
    bias_share, bias : how often there is a bias field, and the highest standard deviation of its logarithm
    coil_share, coil, coil_width, coil_low, coil_high : how often a coil nearby makes a bright spot, how much brighter
        its middle is (lowest, highest), its standard deviation (mm; lowest, highest), and the box that its middle lies
        in, (z, y, x) mm from the middle of the image; y runs to the back
    coarse_share, thickest : how often the resolution is lower, and the lowest, (z, y, x) mm
    noise_share, noise : how often there is noise, and its highest standard deviation
    gamma_share, gamma : how often the gray scale is bent, and the standard deviation of the logarithm of its power
    rescaled : standard deviation of contrast and brightness, always
    """

    bias_share: float = 0.5
    bias: float = 0.4
    coil_share: float = 0.2
    coil: tuple[float, float] = (0.5, 6.0)
    coil_width: tuple[float, float] = (12.0, 35.0)
    coil_low: tuple[float, float, float] = (-20.0, 15.0, -12.0)
    coil_high: tuple[float, float, float] = (20.0, 50.0, 12.0)
    coarse_share: float = 0.25
    thickest: tuple[float, float, float] = (6.0, 2.5, 2.5)
    noise_share: float = 0.3
    noise: float = 0.15
    gamma_share: float = 0.5
    gamma: float = 0.3
    rescaled: float = 0.1


def rescan(image: torch.Tensor, spacing: Spacing, settings: Scanner, generator: torch.Generator) -> torch.Tensor:
    """An image ``(z, y, x)`` as another scanner would show it, normalized, within ±2; ``spacing`` is (z, y, x) mm."""
    device = generator.device
    bias, coil, coarse, noise, gamma, strength = torch.rand(6, generator=generator, device=device).tolist()
    air = image.min()
    if bias < settings.bias_share:
        field = smooth_noise(image.shape, max(image.shape) / 2.5, generator)
        image = (image - air) * torch.exp(settings.bias * strength * field) + air
    if coil < settings.coil_share:
        image = (image - air) * bright_spot(image.shape, spacing, settings, generator) + air
    if coarse < settings.coarse_share:
        draws = torch.rand(3, generator=generator, device=device).tolist()
        image = coarser(image, spacing, settings.thickest, draws)
    image = normalized(image)
    if noise < settings.noise_share:
        deviation = settings.noise * torch.rand(1, generator=generator, device=device) ** 2
        image = image + deviation * torch.randn(image.shape, generator=generator, device=device)
    if gamma < settings.gamma_share:
        image = bent(image, settings.gamma, generator)
    stretch, shift = (settings.rescaled * torch.randn(2, generator=generator, device=device)).tolist()
    return (image * (1 + stretch) + shift).clamp(-2, 2)


def bright_spot(
    size: torch.Size | tuple[int, ...], spacing: Spacing, settings: Scanner, generator: torch.Generator
) -> torch.Tensor:
    """Factors ``(z, y, x)`` that fall off from a random place, as of an endorectal coil, as a Gaussian does."""
    device = generator.device
    draws = torch.rand(5, generator=generator, device=device)
    low, high = (torch.tensor(corner, device=device) for corner in (settings.coil_low, settings.coil_high))
    place = low + (high - low) * draws[:3]
    width = settings.coil_width[0] + (settings.coil_width[1] - settings.coil_width[0]) * draws[3]
    gain = settings.coil[0] * (settings.coil[1] / settings.coil[0]) ** draws[4]
    lines = [
        (torch.arange(part, device=device) - (part - 1) / 2) * step - at
        for part, step, at in zip(size, spacing, place, strict=True)
    ]
    z, y, x = (torch.exp(-((line / width) ** 2) / 2) for line in lines)
    return 1 + gain * torch.einsum("z,y,x->zyx", z, y, x)


def smooth_noise(size: torch.Size | tuple[int, ...], width: float, generator: torch.Generator) -> torch.Tensor:
    """A random field ``(z, y, x)`` of standard deviation about 1, from values ``width`` voxels apart."""
    coarse = [max(2, round(part / width)) for part in size]
    knots = torch.randn(1, 1, *coarse, generator=generator, device=generator.device)
    field = F.interpolate(knots, size=tuple(size), mode="trilinear", align_corners=False)[0, 0]
    return field / field.std().clamp(min=1e-6)


def normalized(image: torch.Tensor) -> torch.Tensor:
    """The 1st to 99th percentile as −1 to 1, as ``image.intensity.normalize`` does it, but on any device."""
    low, high = torch.quantile(image.flatten(), torch.tensor([0.01, 0.99], device=image.device))
    return (image - low) / (high - low).clamp(min=1e-6) * 2 - 1


def coarser(image: torch.Tensor, spacing: Spacing, thickest: Spacing, draws: list[float]) -> torch.Tensor:
    """The image after a stay on a coarser grid: voxels are averaged over a slice's thickness, then interpolated.

    ``draws`` (z, y, x), 0 to 1, are how far its spacing is from ``spacing`` to ``thickest`` (mm).
    """
    wanted = [step + draw * max(0.0, most - step) for step, most, draw in zip(spacing, thickest, draws, strict=True)]
    depth, height, width = (
        max(2, round(part * step / to)) for part, step, to in zip(image.shape, spacing, wanted, strict=True)
    )
    small = F.adaptive_avg_pool3d(image[None, None], (depth, height, width))
    return F.interpolate(small, size=tuple(image.shape), mode="trilinear", align_corners=False)[0, 0]


def bent(image: torch.Tensor, deviation: float, generator: torch.Generator) -> torch.Tensor:
    """A random power of the gray values, which run from −1 to 1 and somewhat beyond."""
    power = torch.exp(deviation * torch.randn(1, generator=generator, device=generator.device))
    part = ((image + 1) / 2).clamp(min=0)
    return torch.where(image > -1, part**power * 2 - 1, image)
