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
from SparseSegLib.prior.random_walk import edge_weights, solve

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
CHOICES = (USUAL, Refinement(contrast=30, trust=1))
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
    classes = len(probabilities)
    certainty = (probabilities.max(0).values * classes - 1) / (classes - 1)
    trust = refinement.trust * (certainty + LEAST_TRUST)
    free = (labels == UNLABELED).to(probabilities)
    edges = edge_weights(image, refinement.contrast)
    out = torch.empty_like(probabilities)
    for label in range(1, classes):
        belief = probabilities[label]
        start = torch.where(free > 0, belief, (labels == label).to(belief))
        out[label] = solve(edges, free, start, ITERATIONS, TOLERANCE, trust, belief)
    out[1:].clamp_(0, 1)
    out[0] = (1 - out[1:].sum(0)).clamp(min=0)
    return out.div_(out.sum(0, keepdim=True).clamp(min=1e-6))
