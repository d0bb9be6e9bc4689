"""Losses on sparse labels: unlabeled voxels are ignored.

Targets have a class per voxel or ``UNLABELED`` (255). Only labeled voxels enter any sum, so neither the loss nor a
gradient depends on anything else, to the last bit.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from SparseSegLib.annotation import UNLABELED


def has_labels(target: torch.Tensor) -> bool:
    """Whether any voxel of a batch is labeled; one without is skipped."""
    return bool((target != UNLABELED).any())


def weighted_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Weighted softmax cross-entropy over the labeled voxels (Çiçek et al. 2016, section 3.2).

    Parameters
    ----------
    logits : (B, K, ...)
    target : (B, ...) integers
    weights : (K,), optional
        Weight of each class; the loss is divided by the sum of the weights that occur.

    Returns
    -------
    A number; NaN for a batch with no labeled voxel (see :func:`has_labels`).
    """
    return F.cross_entropy(logits, target.long(), weight=weights, ignore_index=UNLABELED)


def soft_dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """One minus the soft Dice over the labeled voxels of a batch, mean over the classes but background.

    ``logits`` is ``(B, K, ...)`` and ``target`` ``(B, ...)``. One voxel is added above and below, so that a class that
    does not occur costs little.
    """
    labeled = target != UNLABELED
    probabilities = logits.softmax(1).movedim(1, -1)[labeled]
    truth = F.one_hot(target[labeled].long(), logits.shape[1]).to(probabilities.dtype)
    overlap = (probabilities * truth).sum(0)
    total = probabilities.sum(0) + truth.sum(0)
    return 1 - ((2 * overlap + 1) / (total + 1))[1:].mean()


def vnet_dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """One minus V-Net's Dice 2·Σpg / (Σp² + Σg²) over the labeled voxels (Milletari et al. 2016, section 3).

    Parameters
    ----------
    logits : (B, K, ...)
        p is their softmax.
    target : (B, ...) integers
        g is 1 where the target is the class, 0 elsewhere.

    Returns
    -------
    A number: the mean over the volumes of the batch and over the classes but background; a class that a volume lacks
    counts 1 there and has no gradient. NaN for a batch with no labeled voxel (see :func:`has_labels`); a single volume
    without one is left out.
    """
    labeled = (target != UNLABELED)[:, None]
    classes = torch.arange(1, logits.shape[1], device=target.device).view(-1, *[1] * (logits.ndim - 2))
    truth = (target[:, None] == classes).to(logits.dtype)
    probabilities = logits.masked_fill(~labeled, 0).softmax(1)[:, 1:] * labeled
    voxels = tuple(range(2, logits.ndim))
    total = (probabilities**2).sum(voxels) + truth.sum(voxels)
    dice = 2 * (probabilities * truth).sum(voxels) / total.clamp(min=torch.finfo(total.dtype).tiny)
    return 1 - dice[labeled.flatten(1).any(1)].mean()


def region_dice(logits: torch.Tensor, truth: torch.Tensor, labeled: torch.Tensor) -> torch.Tensor:
    """One minus the soft Dice 2·Σpg / (Σp² + Σg²) of a region, summed over all of them (Myronenko 2018, section 3.4).

    Parameters
    ----------
    logits : (B, R, ...)
        p is their sigmoid; regions may overlap.
    truth : (B, R, ...) bool
    labeled : (B, ...) bool
        Only these voxels enter the sums.

    Returns
    -------
    A number between 0 and R: the mean over the volumes of the batch. A region that a volume lacks counts 1 there and
    has no gradient.
    """
    seen = labeled[:, None]
    probabilities = logits.masked_fill(~seen, 0).sigmoid() * seen
    wanted = (truth & seen).to(logits.dtype)
    voxels = tuple(range(2, logits.ndim))
    total = (probabilities**2).sum(voxels) + wanted.sum(voxels)
    dice = 2 * (probabilities * wanted).sum(voxels) / total.clamp(min=1e-6)
    return (1 - dice).sum(1).mean()


def region_cross_entropy(
    logits: torch.Tensor, truth: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Sigmoid cross-entropy of regions that may overlap: their sum, mean over the labeled voxels.

    Parameters
    ----------
    logits : (B, R, ...)
    truth : (B, R, ...) bool
    target : (B, ...) integers
        The classes that the regions are made of, or ``UNLABELED``.
    weights : (K,), optional
        Weight of the voxels of each class, as in :func:`weighted_cross_entropy`.
    """
    labeled = target != UNLABELED
    wanted = truth.movedim(1, -1)[labeled].to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(logits.movedim(1, -1)[labeled], wanted, reduction="none").sum(1)
    if weights is None:
        return losses.mean()
    shares = weights[target[labeled].long()]
    return (losses * shares).sum() / shares.sum()


def class_weights(counts: np.ndarray, exponent: float = 1.0) -> torch.Tensor:
    """Weights ``(K,)`` that balance the classes, mean 1.

    Parameters
    ----------
    counts : labeled voxels of each class
    exponent : 1 gives all classes the same influence, as the paper does; 0.5 goes half the way, 0 does nothing.
    """
    weights = (counts.sum() / np.maximum(counts, 1)) ** exponent
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def batch_weights(target: torch.Tensor, classes: int) -> torch.Tensor:
    """Weights ``(classes,)`` for :func:`weighted_cross_entropy` that balance the classes of one batch.

    With them it is the re-weighted multinomial logistic loss that V-Net's Dice is compared with (Milletari et al. 2016,
    section 3). ``target`` is ``(B, ...)`` integers with ``UNLABELED``; the weights are on its device.
    """
    counts = torch.bincount(target[target != UNLABELED].flatten().long(), minlength=classes)
    return class_weights(counts.cpu().numpy()).to(target.device)
