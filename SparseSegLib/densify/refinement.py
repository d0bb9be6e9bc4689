"""The last touch: a random walk over the image that starts from what the network believes.

Random walker segmentation with a prior model (Grady, CVPR 2005): the probabilities x of a class minimize

    sum over neighbors i, j of w_ij (x_i - x_j)²  +  sum over voxels i of t_i (x_i - p_i)²,

where p is the network's probability and the labeled voxels are fixed. Edges w_ij are weak where gray values change, and
the trust t_i is high where the network is sure. Where the network wavers, neighbors of the same gray value and the
user's labels decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from SparseSegLib.annotation import UNLABELED

WEAKEST_EDGE = 1e-4
LEAST_TRUST = 0.02
ITERATIONS = 60
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Refinement:
    """How to walk.

    Attributes
    ----------
    contrast : how much an edge weakens with the squared difference of gray values (normalized to -1…1)
    trust : weight of the network's belief where it is certain, against 1 for an edge inside a flat region
    """

    contrast: float
    trust: float


USUAL = Refinement(contrast=30, trust=3)
CHOICES = tuple(Refinement(contrast, trust) for trust in (3.0, 1.0, 0.3) for contrast in (10.0, 30.0))
"""What is tried on held-out slices; the gentlest first."""


def refine(
    probabilities: torch.Tensor, image: torch.Tensor, labels: torch.Tensor, refinement: Refinement
) -> torch.Tensor:
    """Walk from ``probabilities`` over ``image``.

    Parameters
    ----------
    probabilities : Tensor (K, Z, Y, X) float32, summing to 1
    image : Tensor (C, Z, Y, X), normalized gray values
    labels : Tensor (Z, Y, X) uint8, ``UNLABELED`` where the walk decides
    refinement : Refinement

    Returns
    -------
    Tensor (K, Z, Y, X): new probabilities; 0 or 1 on labeled voxels.
    """
    walk = _Walk(probabilities, image, labels, refinement)
    out = torch.empty_like(probabilities)
    for label in range(1, len(probabilities)):
        out[label] = walk.solve(label)
    out[1:].clamp_(0, 1)
    out[0] = (1 - out[1:].sum(0)).clamp(min=0)
    return out.div_(out.sum(0, keepdim=True).clamp(min=1e-6))


class _Walk:
    """The linear system that all classes share, solved by conjugate gradients with its diagonal as preconditioner."""

    def __init__(
        self, probabilities: torch.Tensor, image: torch.Tensor, labels: torch.Tensor, refinement: Refinement
    ) -> None:
        self.probabilities = probabilities
        self.labels = labels
        self.free = (labels == UNLABELED).to(probabilities)
        classes = len(probabilities)
        certainty = (probabilities.max(0).values * classes - 1) / (classes - 1)
        self.trust = refinement.trust * (certainty + LEAST_TRUST)
        self.edges = [
            torch.exp(-refinement.contrast * image.diff(dim=1 + axis).square().mean(0)) + WEAKEST_EDGE
            for axis in range(3)
        ]
        self.diagonal = self.trust.clone()
        for axis, edge in enumerate(self.edges):
            low, high = _ends(self.diagonal, axis)
            low += edge
            high += edge

    def solve(self, label: int) -> torch.Tensor:
        """The probability ``(Z, Y, X)`` of one class."""
        belief = self.probabilities[label]
        x = torch.where(self.free > 0, belief, (self.labels == label).to(belief))
        residual = (self.trust * belief - self._apply(x)) * self.free
        direction = residual / self.diagonal
        product = start = float((residual * direction).sum())
        for _ in range(ITERATIONS):
            if product <= TOLERANCE**2 * start or product <= 0:
                break
            image = self._apply(direction).mul_(self.free)
            length = product / float((direction * image).sum())
            x.add_(direction, alpha=length)
            residual.sub_(image, alpha=length)
            scaled = residual / self.diagonal
            following = float((residual * scaled).sum())
            direction = scaled.add_(direction, alpha=following / product)
            product = following
        return x

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        """The system's matrix times ``x``: the edges' Laplacian, and the trust on the diagonal."""
        out = self.trust * x
        for axis, edge in enumerate(self.edges):
            flow = x.diff(dim=axis).mul_(edge)
            low, high = _ends(out, axis)
            low -= flow
            high += flow
        return out


def _ends(values: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of all voxels but the last, and all but the first, along ``axis``."""
    count = values.shape[axis] - 1
    return values.narrow(axis, 0, count), values.narrow(axis, 1, count)
