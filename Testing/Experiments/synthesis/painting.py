"""Painting a label map: every tissue gets a gray value and a texture of its own, drawn at random."""

from __future__ import annotations

import torch

from Experiments.prostate.scanner import smooth_noise
from Experiments.synthesis.anatomy import HIGHEST

DETAIL = 1.2  # how much stronger than in the image the detail may be
TEXTURE = 0.25  # the highest standard deviation of a tissue's texture, in units of its gray value's range


def paint(tissues: torch.Tensor, detail: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An image ``(z, y, x)``, gray values about −1 to 1, of a label map ``(z, y, x)``, in the manner of SynthSeg.

    Each tissue's mean and standard deviation are drawn at random (Billot et al. 2023, section 3.1); part of the texture
    is smooth, and ``detail`` (z, y, x), what a real image shows beyond its tissues, goes in with a random weight.
    """
    device = generator.device

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    means, deviations = uniform(HIGHEST + 2) * 2 - 1, uniform(HIGHEST + 2) * TEXTURE
    kinds = tissues.long()
    fine = torch.randn(tissues.shape, generator=generator, device=device)
    coarse = smooth_noise(tissues.shape, 3, generator)
    texture = fine.lerp(coarse, float(uniform(1)))
    weight = DETAIL * (2 * uniform(1) - 0.6)  # now and then the contrast within tissues is inverted
    return means[kinds] + deviations[kinds] * texture + weight * detail
