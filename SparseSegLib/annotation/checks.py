"""Checks of what is drawn, before it becomes sparse labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from SparseSegLib.annotation.planes import Plane
from SparseSegLib.errors import AnnotationError, GeometryError
from SparseSegLib.image import Geometry

HIGHEST = 254
"""The highest class: sparse labels are bytes, and 255 means unlabeled."""


def check_labelmap(labelmap: np.ndarray, geometry: Geometry) -> None:
    """Raise GeometryError if ``labelmap`` does not fit the grid, AnnotationError if its values are no classes."""
    if labelmap.shape != geometry.shape:
        raise GeometryError(f"A labelmap of shape {labelmap.shape} does not fit a grid of shape {geometry.shape}.")
    if labelmap.size and not 0 <= labelmap.min() <= labelmap.max() <= HIGHEST:
        raise AnnotationError(
            f"Segments must have the values 1 to {HIGHEST}, and these have {labelmap.min()} to {labelmap.max()}.",
            "Number the segments 1, 2, 3 and so on.",
        )


def check_planes(planes: Iterable[Plane], geometry: Geometry) -> None:
    """Raise GeometryError if a plane lies outside of the grid."""
    for plane in planes:
        if not 0 <= plane.index < geometry.shape[plane.axis]:
            raise GeometryError(f"The annotated slice {plane.index} along {'zyx'[plane.axis]} is not in the volume.")
