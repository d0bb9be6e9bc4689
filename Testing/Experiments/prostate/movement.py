"""Random movements of patches in millimeters, for voxels that are not cubes.

As in :mod:`SparseSegLib.augmentation.patches` a sampling grid maps each voxel of a patch to a position in its volume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from SparseSegLib.augmentation.bspline import spline_weights

Spacing = tuple[float, float, float]
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Movement:
    """Strength of the spatial augmentation.

    Attributes
    ----------
    turned, scaled, deformed : fraction of the patches that are; the others keep the volume's own voxels
    rotation : standard deviation about the axes z, y and x, radians
    scaling, stretching : standard deviation of the logarithm of the scale, and of that of each axis by itself
    knots, deformation : distance of the random vectors of a B-spline deformation, and the standard deviation of their
        components z, y and x, mm
    mirrored : whether x is mirrored with probability one half
    """

    turned: float = 0.5
    scaled: float = 0.5
    deformed: float = 0.4
    rotation: tuple[float, float, float] = (0.2, 0.08, 0.1)
    scaling: float = 0.12
    stretching: float = 0.06
    knots: float = 30.0
    deformation: tuple[float, float, float] = (2.0, 4.0, 4.0)
    mirrored: bool = True


def moved_places(
    centers: torch.Tensor, size: Size, spacing: Spacing, settings: Movement, generator: torch.Generator
) -> torch.Tensor:
    """Positions (z, y, x) in voxels at which each patch reads its volume, ``(B, z, y, x, 3)``.

    Parameters
    ----------
    centers : (B, 3) in voxels
    size : (z, y, x) voxels of a patch
    spacing : (z, y, x) mm
    generator : lives on the device that the result shall be on
    """
    device, count = generator.device, len(centers)
    step = torch.tensor(spacing, device=device)
    lines = [(torch.arange(part, device=device) - (part - 1) / 2) * at for part, at in zip(size, spacing, strict=True)]
    offsets = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
    turned, scaled, deformed = (
        (torch.rand(count, generator=generator, device=device) < share).float()
        for share in (settings.turned, settings.scaled, settings.deformed)
    )
    matrix = _rotations(turned, settings, generator) * _scales(scaled, settings, generator)[:, None]
    places = torch.einsum("bij,zyxj->bzyxi", matrix, offsets)
    places = places + _deformation(deformed, size, spacing, settings, generator)
    return places / step + centers.to(device)[:, None, None, None]


def _rotations(turned: torch.Tensor, settings: Movement, generator: torch.Generator) -> torch.Tensor:
    """Rotations ``(B, 3, 3)`` where ``turned (B,)`` is 1."""
    count, device = len(turned), turned.device
    deviations = torch.tensor(settings.rotation, device=device)
    turns = deviations * torch.randn(count, 3, generator=generator, device=device) * turned[:, None]
    skew = torch.zeros(count, 3, 3, device=device)
    for axis, (first, second) in enumerate(((1, 2), (0, 2), (0, 1))):
        skew[:, first, second], skew[:, second, first] = -turns[:, axis], turns[:, axis]
    return torch.linalg.matrix_exp(skew)


def _scales(scaled: torch.Tensor, settings: Movement, generator: torch.Generator) -> torch.Tensor:
    """Factors ``(B, 3)`` of z, y and x, 1 where ``scaled (B,)`` is 0; negative where x is mirrored."""
    count, device = len(scaled), scaled.device
    whole = settings.scaling * torch.randn(count, 1, generator=generator, device=device)
    each = settings.stretching * torch.randn(count, 3, generator=generator, device=device)
    scales = torch.exp((whole + each) * scaled[:, None])
    if settings.mirrored:
        scales[:, 2] *= torch.randint(0, 2, (count,), generator=generator, device=device) * 2.0 - 1
    return scales


def _deformation(
    deformed: torch.Tensor, size: Size, spacing: Spacing, settings: Movement, generator: torch.Generator
) -> torch.Tensor:
    """Displacements ``(B, z, y, x, 3)`` in mm where ``deformed (B,)`` is 1, by cubic B-splines."""
    count, device = len(deformed), deformed.device
    steps = [at / settings.knots for at in spacing]
    knots = [math.ceil((part - 1) * step) + 4 for part, step in zip(size, steps, strict=True)]
    vectors = torch.randn(count, *knots, 3, generator=generator, device=device)
    vectors = vectors * torch.tensor(settings.deformation, device=device) * deformed[:, None, None, None, None]
    lines = [torch.arange(part, device=device) * step + 1 for part, step in zip(size, steps, strict=True)]
    z, y, x = (spline_weights(line, knot) for line, knot in zip(lines, knots, strict=True))
    return torch.einsum("bzyxc,pz,qy,rx->bpqrc", vectors, z, y, x)
