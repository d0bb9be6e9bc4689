"""Random walks over an image: the linear systems behind them, and their solution on the grid itself.

The probability that a random walk with transition weights w_ij between neighboring voxels reaches a class first solves

    sum over neighbors j of w_ij (x_i - x_j)  +  t_i (x_i - p_i)  =  0

at every free voxel i (Grady, IEEE TPAMI 2006; with the belief p and its trust t: Grady, CVPR 2005).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

WEAKEST_EDGE = 1e-4
Edges = Sequence[torch.Tensor]
"""Weights between each voxel and the next along (z, y, x): ``(..., Z - 1, Y, X)`` and so on."""


def edge_weights(
    image: torch.Tensor, contrast: float | torch.Tensor, steps: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> list[torch.Tensor]:
    """Edges that are the weaker the more gray values differ and the longer they are.

    Parameters
    ----------
    image : Tensor (C, Z, Y, X)
    contrast : how much an edge weakens with the squared difference of gray values, the mean over the channels; a tensor
        ``(B, 1, 1, 1)`` for several graphs at once
    steps : (z, y, x) lengths of the edges, in any unit
    """
    return [
        (torch.exp(-contrast * image.diff(dim=1 + axis).square().mean(0)) + WEAKEST_EDGE) * (min(steps) / step)
        for axis, step in enumerate(steps)
    ]


def solve(
    edges: Edges,
    free: torch.Tensor,
    start: torch.Tensor,
    iterations: int,
    tolerance: float,
    trust: torch.Tensor | None = None,
    belief: torch.Tensor | None = None,
) -> torch.Tensor:
    """Conjugate gradients with the diagonal as preconditioner.

    Parameters
    ----------
    edges : of one graph, or of as many as there are systems
    free : Tensor (Z, Y, X) of 0 and 1; where it is 0 ``start`` stays as it is
    start : Tensor (..., Z, Y, X), one system for each of the leading dimensions
    iterations : at most so many
    tolerance : of the residual, against its norm at the start
    trust, belief : Tensors like ``free`` and ``start``; None for no belief

    Returns
    -------
    Tensor like ``start``.
    """
    diagonal = _diagonal(edges, start, trust)
    x = start.clone()
    residual = -_apply(edges, trust, x)
    if trust is not None and belief is not None:
        residual += trust * belief
    residual *= free
    direction = residual / diagonal
    product = first = _dot(residual, direction)
    for _ in range(iterations):
        if bool((product <= tolerance**2 * first).all()):
            break
        image = _apply(edges, trust, direction).mul_(free)
        length = product / _dot(direction, image).clamp(min=1e-30)
        x.addcmul_(direction, length)
        residual.addcmul_(image, length, value=-1)
        scaled = residual / diagonal
        following = _dot(residual, scaled)
        direction = scaled.addcmul_(direction, following / product.clamp(min=1e-30))
        product = following
    return x


def _dot(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """One number for each system, in a shape that broadcasts over its voxels."""
    return torch.linalg.vecdot(first.flatten(-3), second.flatten(-3))[..., None, None, None]


def _diagonal(edges: Edges, like: torch.Tensor, trust: torch.Tensor | None) -> torch.Tensor:
    """The diagonal of the system's matrix."""
    shape = torch.broadcast_shapes(edges[0].shape[:-3], like.shape[:-3])
    diagonal = torch.zeros(*shape, *like.shape[-3:], dtype=like.dtype)
    if trust is not None:
        diagonal += trust
    for axis, edge in enumerate(edges):
        low, high = _ends(diagonal, axis)
        low += edge
        high += edge
    return diagonal.clamp_(min=WEAKEST_EDGE)


def _apply(edges: Edges, trust: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """The system's matrix times ``x``: the edges' Laplacian, and the trust on the diagonal."""
    out = torch.zeros_like(x) if trust is None else trust * x
    for axis, edge in enumerate(edges):
        flow = x.diff(dim=axis - 3).mul_(edge)
        low, high = _ends(out, axis)
        low -= flow
        high += flow
    return out


def _ends(values: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of all voxels but the last, and all but the first, along the spatial ``axis``."""
    count = values.shape[axis - 3] - 1
    return values.narrow(axis - 3, 0, count), values.narrow(axis - 3, 1, count)
