"""Random sampling grids: rotated, scaled, mirrored and deformed, in mm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from SparseSegLib.augmentation.bspline import bspline_displacements

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Views:
    """Strength of the samples' variation in place and shape.

    Attributes
    ----------
    shift : standard deviation (z, y, x; mm) of a window's middle from the structure
    rotation : standard deviation about each axis (z, y, x; radians)
    scaling : standard deviation of the logarithm of the scale, of the whole and of each axis
    cells : of the B-spline deformation, along each axis of the window (Milletari et al. 2016, section 3.1: 2)
    deformation : standard deviation of its random vectors, mm
    mirror : whether to exchange left and right with probability one half
    """

    shift: tuple[float, float, float] = (10.0, 20.0, 20.0)
    rotation: tuple[float, float, float] = (0.15, 0.08, 0.08)
    scaling: tuple[float, float] = (0.15, 0.08)
    cells: tuple[int, int, int] = (2, 3, 3)
    deformation: float = 5.0
    mirror: bool = True


def random_views(
    center: torch.Tensor, size: Size, spacing: tuple[float, float, float], views: Views, generator: torch.Generator
) -> torch.Tensor:
    """Positions (z, y, x) in voxels of a volume at which a window reads it, ``(1, z, y, x, 3)``.

    Parameters
    ----------
    center : (3,) voxels (z, y, x), on the generator's device
    size : (z, y, x) voxels of the window
    spacing : (z, y, x) mm, of volume and window
    generator : torch.Generator
    """
    device = generator.device

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    step = torch.tensor(spacing, device=device)
    lines = [torch.arange(part, device=device) - (part - 1) / 2 for part in size]
    still = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1) * step  # mm from the window's middle
    knots = [cell + 3 for cell in views.cells]
    bent = views.deformation * bspline_displacements(normal(1, 3, *knots), size)[0].movedim(0, -1)
    shift = torch.tensor(views.shift, device=device) * normal(3)
    return (((still + bent) @ _matrix(views, normal, generator).T + shift) / step + center)[None]


def _matrix(views: Views, normal: Callable[..., torch.Tensor], generator: torch.Generator) -> torch.Tensor:
    """Rotation, scales and mirroring as (3, 3), on (z, y, x) in mm."""
    device = generator.device
    turns = torch.tensor(views.rotation, device=device) * normal(3)
    skew = torch.zeros(3, 3, device=device)
    for axis, (first, second) in enumerate(((1, 2), (0, 2), (0, 1))):
        skew[first, second], skew[second, first] = -turns[axis], turns[axis]
    whole, each = views.scaling
    scales = torch.exp(whole * normal(1) + each * normal(3))
    if views.mirror and torch.rand(1, generator=generator, device=device) < 0.5:
        scales = scales * torch.tensor([1.0, 1.0, -1.0], device=device)
    return torch.linalg.matrix_exp(skew) * scales
