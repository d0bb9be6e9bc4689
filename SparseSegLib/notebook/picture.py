"""A picture of an image and what was found in it, for notebooks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from SparseSegLib.annotation import as_labelmap, encoded, values_in
from SparseSegLib.densify import DensifyResult
from SparseSegLib.errors import GeometryError, UsageError
from SparseSegLib.extras import require_packages
from SparseSegLib.image import Geometry, as_volume
from SparseSegLib.image.given import Image
from SparseSegLib.notebook.drawing import draw_outlines, slice_aspect

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
SIZE = 2.4  # inches of a slice
MOST_SLICES = 50


def plot(image: Image, result: DensifyResult | Image, *, slices: int = 5, orientation: str = "axial") -> Figure:
    """Draw slices of an image with the outlines of a result and, below them, where it is uncertain.

    Shown as doctors look at slices: the patient's right is on the left, and the front or the head above.

    Parameters
    ----------
    image : Volume, SimpleITK image, nibabel image or array; of several channels the first is drawn
    result : of a densification, or labels of the image
    slices : how many, evenly spaced through what was found
    orientation : axial, coronal or sagittal

    Returns
    -------
    A figure of matplotlib: a notebook shows it where it is the last line of a cell, and ``savefig`` writes it.

    Raises
    ------
    DependencyError
        If matplotlib is not installed.
    UsageError
        For another orientation, or a number of slices that cannot be.
    GeometryError
        If image and result lie on different grids.
    """
    require_packages("notebook", "matplotlib")
    if orientation not in AXES:
        raise UsageError(f"There is no orientation called {orientation}.", f"Use one of {', '.join(AXES)}.")
    if not 1 <= slices <= MOST_SLICES:
        raise UsageError(f"A picture cannot have {slices} slices.", f"Give 1 to {MOST_SLICES}.")
    axis, volume = AXES[orientation], as_volume(image)
    labels, uncertainty, grid = _found(result, image)
    if not volume.geometry.matches(grid):
        raise GeometryError(f"Image and result lie on different grids: {volume.geometry.difference(grid)}.")
    gray, spacing = _upright(volume.array[0], grid)
    labels, _ = _upright(labels, grid)
    rows = [labels] if uncertainty is None else [labels, _upright(uncertainty, grid)[0]]
    places = _places(labels, axis, slices)
    aspect = slice_aspect(spacing, axis)
    figure = _figure(len(rows), len(places), gray.take(0, axis).shape, aspect)
    low, high = np.percentile(gray[:: max(1, len(gray) // 50)], [1, 99.5])
    for row, layer in zip(figure.subplots(len(rows), len(places), squeeze=False), rows, strict=True):
        for axes, place in zip(row, places, strict=True):
            axes.imshow(_slice(gray, axis, place), cmap="gray", vmin=low, vmax=high, aspect=aspect)
            if layer is labels:
                draw_outlines(axes, _slice(layer, axis, place))
                axes.set_title(f"{orientation} {place}", fontsize=9)
            else:
                shown = _slice(layer, axis, place)
                axes.imshow(shown, cmap="inferno", vmin=0, vmax=1, aspect=aspect, alpha=0.85)
            axes.set_axis_off()
    return figure


def _found(result: DensifyResult | Image, image: Image) -> tuple[np.ndarray, np.ndarray | None, Geometry]:
    """Classes 0, 1..n (Z, Y, X) uint8, the uncertainty if there is one, and the grid of both."""
    uncertainty = None
    if isinstance(result, DensifyResult):
        labels, grid, uncertainty = result.labels, result.geometry, result.uncertainty
    else:
        labels, grid = as_labelmap(result, image)
    numbers = {value: number for number, value in enumerate(value for value in values_in(labels) if value)}
    return encoded(labels, {0: 0, **{value: 1 + number % 254 for value, number in numbers.items()}}), uncertainty, grid


def _upright(array: np.ndarray, grid: Geometry) -> tuple[np.ndarray, tuple[float, float, float]]:
    """An array (Z, Y, X) with axes that run from foot to head, front to back and right to left, and its spacing."""
    image = sitk.DICOMOrient(grid.to_sitk(array), "LPS")
    z, y, x = reversed(image.GetSpacing())
    return sitk.GetArrayFromImage(image), (z, y, x)


def _places(labels: np.ndarray, axis: int, count: int) -> list[int]:
    """Evenly spaced slices through what was found, or through everything where nothing was."""
    inside = np.flatnonzero(labels.any(tuple(other for other in range(3) if other != axis)))
    first, last = (int(inside[0]), int(inside[-1])) if inside.size else (0, labels.shape[axis] - 1)
    return sorted({round(first + (last - first) * (number + 0.5) / count) for number in range(count)})


def _slice(array: np.ndarray, axis: int, place: int) -> np.ndarray:
    """A slice with the head, or the front, above."""
    values = array.take(place, axis)
    return values if axis == 0 else values[::-1]


def _figure(rows: int, columns: int, shape: tuple[int, ...], aspect: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that shows itself in a notebook, without pyplot, which would show it twice."""

        def _repr_png_(self) -> bytes:
            stream = io.BytesIO()
            self.savefig(stream, format="png", dpi=100)
            return stream.getvalue()

    height = SIZE * min(2.0, max(0.4, shape[0] * aspect / shape[1]))
    figure: Any = Picture(figsize=(SIZE * columns, rows * height + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
