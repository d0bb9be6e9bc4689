"""Weights of the narrow background between touching objects, and the loss with them (Ronneberger et al. 2015)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED

FAR = 4.0  # in σ: farther than that from an object the extra weight is below a thousandth of its maximum


def border_weights(
    instances: np.ndarray,
    class_weights: tuple[float, float] | None = None,
    border: float = 10.0,
    sigma: float = 5.0,
) -> np.ndarray:
    """The weight map w(x) = w_c(x) + w₀·exp(−(d₁ + d₂)² / 2σ²) of equation 2.

    Parameters
    ----------
    instances : (Y, X) or (Z, Y, X) integers; 0 is background, every other value an object of its own
    class_weights : w_c of background and objects; None for weights that balance both, with mean 1 over the image
    border, sigma : w₀, and σ in pixels

    Returns
    -------
    float32 weights of the same shape. d₁ and d₂ are the distances in pixels to the nearest and second nearest object;
    the second term is for background alone, and zero where there are fewer than two objects.
    """
    objects = instances != 0
    if class_weights is None:
        share = min(max(float(objects.mean()), 1 / objects.size), 1 - 1 / objects.size)
        class_weights = (0.5 / (1 - share), 0.5 / share)
    weights = np.where(objects, class_weights[1], class_weights[0])
    first, second = _two_nearest(instances, reach=FAR * sigma)
    extra = border * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return (weights + np.where(objects, 0, extra)).astype(np.float32)


def mapped_cross_entropy(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Softmax cross-entropy times a weight for each pixel, mean over the labeled ones (Ronneberger et al. 2015, eq. 1).

    ``logits`` is ``(B, K, ...)``, ``target`` and ``weights`` are ``(B, ...)``; for the weights see
    :func:`border_weights`.
    """
    losses = F.cross_entropy(logits, target.long(), ignore_index=UNLABELED, reduction="none")
    return (losses * weights).sum() / (target != UNLABELED).sum()


def _two_nearest(instances: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest and second nearest object; infinite beyond ``reach``."""
    first = np.full(instances.shape, np.inf)
    second = np.full(instances.shape, np.inf)
    values, numbers = np.unique(instances, return_inverse=True)
    numbers = numbers.reshape(instances.shape) + (values[0] != 0)  # background is 0, and objects count from 1
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is None:
            continue
        around = tuple(
            slice(max(0, part.start - int(reach)), min(size, part.stop + int(reach)))
            for part, size in zip(box, instances.shape, strict=True)
        )
        distance = ndimage.distance_transform_edt(numbers[around] != number)
        distance[distance > reach] = np.inf
        nearest, runner_up = first[around], second[around]
        second[around] = np.minimum(runner_up, np.maximum(nearest, distance))
        first[around] = np.minimum(nearest, distance)
    return first, second
