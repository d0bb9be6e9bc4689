"""What the examples share: the sample tumor, and small pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SparseSegLib.image import Geometry, Volume
from SparseSegLib.io import read_labels, read_volume
from SparseSegLib.resources import sample_data


@dataclass(frozen=True)
class Sample:
    """A volume of one channel, and its true labels ``(Z, Y, X)``."""

    volume: Volume
    truth: np.ndarray

    @property
    def geometry(self) -> Geometry:
        """The grid of both."""
        return self.volume.geometry

    @property
    def middle(self) -> int:
        """The axial slice that shows most of the structure."""
        return int(np.count_nonzero(self.truth, axis=(1, 2)).argmax())


def tumor() -> Sample:
    """The sample that comes with SparseSeg: a soft-tissue sarcoma in a T1 MR volume of a thigh."""
    volume = read_volume(sample_data("sarcoma_t1.nrrd"))
    labels, _, _ = read_labels(sample_data("sarcoma_tumor.nrrd"))
    return Sample(volume, labels)


@dataclass(frozen=True)
class Panel:
    """A slice ``(Y, X)`` in a picture, with outlines of masks by their colors, and a map of 0 to 1 over it."""

    title: str
    image: np.ndarray
    outlines: dict[str, np.ndarray] | None = None
    heat: np.ndarray | None = None


def save_panels(path: Path, panels: list[Panel]) -> None:
    """Write panels side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 * len(panels), 2.6), dpi=90, layout="constrained")
    for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        axes.imshow(panel.image, cmap="gray", vmax=np.percentile(panel.image, 99.5))
        if panel.heat is not None:
            axes.imshow(panel.heat, cmap="inferno", alpha=np.clip(2 * panel.heat, 0, 0.8), vmin=0, vmax=1)
        for color, mask in (panel.outlines or {}).items():
            if mask.any() and not mask.all():
                axes.contour(mask, [0.5], colors=[color], linewidths=1.2)
        axes.set_title(panel.title, fontsize=8)
        axes.axis("off")
    figure.savefig(path, pil_kwargs={"quality": 80})


def save_curve(path: Path, x: list[float], y: list[float], labels: tuple[str, str]) -> None:
    """Write a curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.4), dpi=90, layout="constrained")
    axes = figure.subplots()
    axes.plot(x, y, "o-", markersize=4)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.grid(alpha=0.3)
    figure.savefig(path, pil_kwargs={"quality": 85})
