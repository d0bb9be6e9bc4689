"""A picture of a densification: annotation, result, truth and uncertainty in three orthogonal slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.annotation import Plane, SparseLabels
from SparseSegLib.extras import require_packages
from SparseSegLib.files import atomic_path
from SparseSegLib.notebook.drawing import draw_outlines, slice_aspect

INK = "#e8e6e3"
PAPER = "#14161a"
ORIENTATIONS = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class Scene:
    """The content of the picture: arrays ``(Z, Y, X)`` on one grid, and a line of text."""

    image: np.ndarray
    annotation: SparseLabels
    result: np.ndarray
    truth: np.ndarray
    uncertainty: np.ndarray
    caption: str


def draw(scene: Scene, path: Path) -> None:
    """Write the picture; a row per orientation, each with an annotated slice and one that never was."""
    require_packages("plot", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10.4), facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, 4)
    titles = ("annotated slice", "result on a slice\nnever annotated", "truth", "uncertainty")
    low, high = np.percentile(scene.image, [1, 99.5])
    for axis, row in enumerate(grid):
        drawn, unseen = _slices(scene, axis)
        layers = ((drawn, scene.annotation.array), (unseen, scene.result), (unseen, scene.truth), (unseen, None))
        for axes, title, (index, labels) in zip(row, titles, layers, strict=True):
            gray = _slice(scene.image, axis, index)
            aspect = slice_aspect(scene.annotation.geometry.spacing, axis)
            axes.imshow(gray, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="lanczos")
            if labels is not None:
                draw_outlines(axes, _slice(labels, axis, index))
            else:
                glow = axes.imshow(
                    _slice(scene.uncertainty, axis, index), cmap="inferno", vmin=0, vmax=1, aspect=aspect, alpha=0.85
                )
            if labels is scene.annotation.array:
                _crossings(axes, scene.annotation, axis)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
            if axis == 0:
                axes.set_title(title, color=INK, fontsize=12)
        row[0].set_ylabel(ORIENTATIONS[axis], color=INK, fontsize=12)
    bar = figure.colorbar(glow, ax=grid[:, 3], shrink=0.5, pad=0.02)
    bar.ax.tick_params(colors=INK)
    bar.outline.set_visible(False)
    figure.suptitle(scene.caption, color=INK, fontsize=14)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=PAPER)


def _slices(scene: Scene, axis: int) -> tuple[int, int]:
    """An annotated slice, and the one in the middle of the object that is farthest from all annotated ones."""
    known = [plane.index for plane in scene.annotation.planes if plane.axis == axis]
    inside = np.flatnonzero(scene.truth.any(tuple(other for other in range(3) if other != axis)))
    middle = inside[len(inside) // 4 : -max(1, len(inside) // 4)]
    if not known:
        return int(middle[len(middle) // 2]), int(middle[len(middle) // 2])
    gaps = np.abs(middle[:, None] - np.array(known)[None]).min(1)
    return known[len(known) // 2], int(middle[gaps.argmax()])


def _slice(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A slice with the head (high z) up where z runs along it; rows first."""
    values = volume[Plane(axis, index).voxels]
    return values if axis == 0 else values[::-1]


def _crossings(axes: Any, annotation: SparseLabels, axis: int) -> None:
    """Draw the lines where the annotated slices of the other orientations cross this one."""
    first, _ = (other for other in range(3) if other != axis)
    for plane in annotation.planes:
        if plane.axis == axis:
            continue
        if plane.axis == first:
            flipped = annotation.array.shape[first] - 1 - plane.index
            axes.axhline(plane.index if axis == 0 else flipped, color=INK, linewidth=0.6, linestyle=":", alpha=0.7)
        else:
            axes.axvline(plane.index, color=INK, linewidth=0.6, linestyle=":", alpha=0.7)
