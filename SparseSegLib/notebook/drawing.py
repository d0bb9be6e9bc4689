"""Slices in pictures: their proportions, and the outlines of labels."""

from __future__ import annotations

from typing import Any

import numpy as np

COLORS = ("#ffb000", "#3ec6ff", "#ff5d8f", "#7ee081")


def slice_aspect(spacing: tuple[float, float, float], axis: int) -> float:
    """How much higher than wide the pixels of slices along an axis are; ``spacing`` is (z, y, x)."""
    first, second = (step for other, step in enumerate(spacing) if other != axis)
    return first / second


def draw_outlines(axes: Any, labels: np.ndarray) -> None:
    """Draw the labels 1 to 254 of a slice, each as an outline that is filled faintly, on axes of matplotlib."""
    for label in range(1, 255):
        mask = labels == label
        if mask.any() and not mask.all():
            color = COLORS[(label - 1) % len(COLORS)]
            axes.contourf(mask, levels=[0.5, 1.5], colors=[color], alpha=0.28)
            axes.contour(mask, levels=[0.5], colors=[color], linewidths=0.9)
