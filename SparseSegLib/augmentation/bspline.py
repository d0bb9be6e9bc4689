"""Smooth deformations of whole volumes by cubic B-splines, on the device that trains."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from SparseSegLib.augmentation.reading import read


def deform(
    images: torch.Tensor,
    labels: torch.Tensor,
    generator: torch.Generator,
    cells: tuple[int, int, int] = (2, 2, 2),
    deviation: float = 15.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Deform a batch at random, each volume in its own way (Milletari et al. 2016, sections 3.1 and 4).

    Parameters
    ----------
    images, labels : (B, C, Z, Y, X) and (B, Z, Y, X), on the generator's device
        Images are interpolated linearly, of labels the nearest is taken; nothing unlabeled becomes labeled.
    generator : torch.Generator
    cells : cells (z, y, x) of the control grid over the volume, see :func:`bspline_displacements`
    deviation : standard deviation of each component of the control points' random vectors, in voxels

    Returns
    -------
    Images and labels of the same shapes.
    """
    size = labels.shape[1:]
    knots = [cell + 3 for cell in cells]
    vectors = deviation * torch.randn(len(labels), 3, *knots, generator=generator, device=generator.device)
    lines = [torch.arange(part, device=generator.device) for part in size]
    still = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
    return read(images, labels, bspline_displacements(vectors, size).movedim(1, -1) + still)


def bspline_displacements(vectors: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Displacements ``(B, 3, z, y, x)`` in the unit of ``vectors`` at the voxels of a volume of ``size``.

    ``vectors`` ``(B, 3, kz, ky, kx)`` belong to the control points. k of them along an axis part the volume, from edge
    to edge, into k − 3 cells: one lies on each corner of a cell, and one more beyond each end, which a cubic spline
    needs. (The same as SimpleITK's ``BSplineTransform`` of order 3 with a mesh of k − 3, its domain the volume.)
    """
    weights = []
    for part, knots in zip(size, vectors.shape[2:], strict=True):
        centers = torch.arange(part, device=vectors.device, dtype=vectors.dtype) + 0.5  # of voxels, from the edge
        weights.append(spline_weights(centers / part * (knots - 3) + 1, knots))
    return torch.einsum("bczyx,pz,qy,rx->bcpqr", vectors, *weights)


def spline_weights(places: torch.Tensor, knots: int) -> torch.Tensor:
    """Cubic B-spline weights ``(N, knots)`` of control points 0, 1, … at ``places (N,)``; inside, rows add up to 1."""
    distance = (places[:, None] - torch.arange(knots, device=places.device)[None]).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)
