"""Random geometric and gray value changes of batches of 3D patches, on the device that trains.

One smooth map moves image, labels and "unlabeled" together. It is applied while the patch is cut from the volume, so
that what turns in from outside the patch is real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from SparseSegLib.augmentation.bspline import spline_weights


@dataclass(frozen=True)
class Augmentation:
    """Strength of the augmentation.

    Attributes
    ----------
    rotation : standard deviation about each axis (radians)
    scaling : standard deviation of the logarithm of the scale
    flips : mirror each axis with probability one half
    gray : standard deviation of contrast (logarithm) and brightness (in units of the normalized image)
    deformation_spacing, deformation_deviation : grid spacing and standard deviation of the random vectors of the
        B-spline deformation, in voxels (Çiçek et al. 2016, section 3.2: 32 and 4); 0 for none
    still : fraction of the patches that are mirrored at most, neither turned nor scaled nor deformed
    """

    rotation: float = 0.15
    scaling: float = 0.1
    flips: bool = True
    gray: float = 0.1
    deformation_spacing: float = 32.0
    deformation_deviation: float = 4.0
    still: float = 0.0


def random_places(
    centers: torch.Tensor, size: tuple[int, int, int], settings: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Positions (z, y, x) in voxels at which each patch reads its volume, ``(B, z, y, x, 3)``.

    ``centers`` is ``(B, 3)`` in voxels. ``generator`` lives on the device that the result shall be on.
    """
    device, count = generator.device, len(centers)
    lines = [torch.arange(part, device=device) - (part - 1) / 2 for part in size]
    offsets = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
    moved = torch.ones(count, device=device)
    if settings.still > 0:
        moved = (torch.rand(count, generator=generator, device=device) >= settings.still).float()
    matrix = _random_matrices(moved, settings, generator)
    places = torch.einsum("bij,zyxj->bzyxi", matrix, offsets) + centers.to(device)[:, None, None, None]
    if settings.deformation_deviation > 0:
        deformation = _deformation(count, size, settings, generator) * moved.view(-1, 1, 1, 1, 1)
        places = places + deformation.movedim(1, -1)
    return places


def vary_gray(image: torch.Tensor, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Change contrast and brightness of every channel of ``(B, C, z, y, x)``."""
    shape = (*image.shape[:2], 1, 1, 1)
    gain, shift = (torch.randn(shape, generator=generator, device=generator.device) for _ in range(2))
    return image * torch.exp(settings.gray * gain) + settings.gray * shift


def _random_matrices(moved: torch.Tensor, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Rotation and scaling where ``moved (B,)`` is 1 and not 0, and flips, as ``(B, 3, 3)``."""
    device, count = generator.device, len(moved)
    turns = settings.rotation * torch.randn(count, 3, generator=generator, device=device) * moved[:, None]
    skew = torch.zeros(count, 3, 3, device=device)
    for axis, (first, second) in enumerate(((1, 2), (0, 2), (0, 1))):
        skew[:, first, second], skew[:, second, first] = -turns[:, axis], turns[:, axis]
    scale = torch.exp(settings.scaling * torch.randn(count, generator=generator, device=device) * moved)
    signs = torch.ones(count, 3, device=device)
    if settings.flips:
        signs = torch.randint(0, 2, (count, 3), generator=generator, device=device) * 2.0 - 1
    return torch.linalg.matrix_exp(skew) * scale[:, None, None] * signs[:, None, :]


def _deformation(
    count: int, size: tuple[int, int, int], settings: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Displacements ``(B, 3, z, y, x)`` in voxels: random vectors on a grid, interpolated by cubic B-splines."""
    spacing = settings.deformation_spacing
    knots = [math.ceil(part / spacing) + 4 for part in size]
    vectors = torch.randn(count, 3, *knots, generator=generator, device=generator.device)
    lines = [torch.arange(part, device=generator.device) / spacing + 1 for part in size]
    z, y, x = (spline_weights(line, knot) for line, knot in zip(lines, knots, strict=True))
    return settings.deformation_deviation * torch.einsum("bczyx,pz,qy,rx->bcpqr", vectors, z, y, x)
