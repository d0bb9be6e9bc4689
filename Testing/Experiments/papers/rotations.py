"""Predictions of a 2D network averaged over turned images (Ronneberger et al. 2015, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

TURNS = 7


def predict_rotated(
    predict: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, turns: int = TURNS
) -> torch.Tensor:
    """The mean over ``turns`` rotations of an image, evenly over the circle, the first of them by nothing.

    Parameters
    ----------
    predict : maps ``(1, C, Y, X)`` of any size to probabilities ``(1, K, Y, X)``
    image : (1, C, Y, X); mirrored beyond its border, so that no corner is lost

    Returns
    -------
    (1, K, Y, X); image and probabilities are interpolated linearly.
    """
    height, width = image.shape[-2:]
    reach = math.ceil(math.hypot(height, width))
    total = predict(image)
    for number in range(1, turns):
        angle = 2 * math.pi * number / turns
        there = _turned(image, angle, (reach, reach))
        total = total + _turned(predict(there), -angle, (height, width))
    return total / turns


def _turned(image: torch.Tensor, angle: float, size: tuple[int, int]) -> torch.Tensor:
    """``image`` (1, C, Y, X) turned by ``angle`` (radians) about its center, cut or mirrored to ``size``."""
    lines = [torch.arange(part, device=image.device) - (part - 1) / 2 for part in size]
    y, x = torch.meshgrid(*lines, indexing="ij")
    cos, sin = math.cos(angle), math.sin(angle)
    height, width = image.shape[-2:]
    grid = torch.stack([(cos * x - sin * y) * 2 / width, (sin * x + cos * y) * 2 / height], -1)
    return F.grid_sample(image, grid[None].to(image.dtype), align_corners=False, padding_mode="reflection")
