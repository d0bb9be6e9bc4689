"""Sparse annotations made from dense labels, for experiments."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from SparseSegLib.annotation.checks import check_labelmap, check_planes
from SparseSegLib.annotation.planes import Plane
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.errors import AnnotationError
from SparseSegLib.geometry import Geometry


def sparsify(
    dense: np.ndarray, geometry: Geometry, per_axis: tuple[int, int, int], names: tuple[str, ...] = ()
) -> SparseLabels:
    """Annotate ``per_axis`` (z, y, x) slices, evenly spaced through the bounding box of all objects.

    ``k`` slices lie at the fractions 1/(k + 1) … k/(k + 1) of the box, rounded to whole voxels.
    """
    planes = []
    for axis, (count, (first, last)) in enumerate(zip(per_axis, _extent(dense), strict=True)):
        places = {round(first + (last - first) * (number + 1) / (count + 1)) for number in range(count)}
        planes += [Plane(axis, place) for place in places]
    return keep_planes(dense, geometry, planes, names)


def sparsify_every(
    dense: np.ndarray, geometry: Geometry, step: int, axis: int = 0, names: tuple[str, ...] = ()
) -> SparseLabels:
    """Annotate every ``step``-th slice across ``axis``, the first one half a step into the objects' bounding box."""
    if step < 1:
        raise AnnotationError(f"Every {step}th slice is no choice of slices.", "Give 1 or more.")
    first, last = _extent(dense)[axis]
    return keep_planes(dense, geometry, [Plane(axis, i) for i in range(first + step // 2, last + 1, step)], names)


def keep_planes(
    dense: np.ndarray, geometry: Geometry, planes: Iterable[Plane], names: tuple[str, ...] = ()
) -> SparseLabels:
    """The labels on ``planes`` and nothing else.

    Raises
    ------
    AnnotationError
        If ``dense`` has values that are no classes.
    GeometryError
        If ``dense`` or a plane do not fit the grid.
    """
    check_labelmap(dense, geometry)
    planes = tuple(sorted(set(planes)))
    check_planes(planes, geometry)
    array = np.full(dense.shape, UNLABELED, np.uint8)
    for plane in planes:
        array[plane.voxels] = dense[plane.voxels]
    return SparseLabels(array, geometry, planes, names)


def _extent(dense: np.ndarray) -> list[tuple[int, int]]:
    places = np.nonzero(dense)
    if not places[0].size:
        raise AnnotationError("The labelmap is empty.", "Choose one with a segment in it.")
    return [(int(place.min()), int(place.max())) for place in places]
