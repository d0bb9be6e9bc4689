"""Sparse annotations made from dense labels, for experiments."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from SparseSegLib.annotation.checks import check_labelmap, check_planes
from SparseSegLib.annotation.planes import Plane
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.annotation.values import check_structures, encoded, values_in
from SparseSegLib.errors import AnnotationError
from SparseSegLib.image import Geometry
from SparseSegLib.image.large_array import new_array


def sparsify(
    dense: np.ndarray,
    geometry: Geometry,
    per_axis: tuple[int, int, int],
    names: tuple[str, ...] = (),
    values: tuple[int, ...] = (),
) -> SparseLabels:
    """Annotate ``per_axis`` (z, y, x) slices, evenly spaced through the bounding box of all objects.

    ``k`` slices lie at the fractions 1/(k + 1) … k/(k + 1) of the box, rounded to whole voxels. ``names`` and
    ``values`` are as in :func:`keep_planes`.
    """
    planes = []
    for axis, (count, (first, last)) in enumerate(zip(per_axis, _extent(dense), strict=True)):
        places = {round(first + (last - first) * (number + 1) / (count + 1)) for number in range(count)}
        planes += [Plane(axis, place) for place in places]
    return keep_planes(dense, geometry, planes, names, values)


def sparsify_every(
    dense: np.ndarray,
    geometry: Geometry,
    step: int,
    axis: int = 0,
    names: tuple[str, ...] = (),
    values: tuple[int, ...] = (),
) -> SparseLabels:
    """Annotate every ``step``-th slice across ``axis``, the first one half a step into the objects' bounding box."""
    if step < 1:
        raise AnnotationError(f"Every {step}th slice is no choice of slices.", "Give 1 or more.")
    first, last = _extent(dense)[axis]
    planes = [Plane(axis, i) for i in range(first + step // 2, last + 1, step)]
    return keep_planes(dense, geometry, planes, names, values)


def keep_planes(
    dense: np.ndarray,
    geometry: Geometry,
    planes: Iterable[Plane],
    names: tuple[str, ...] = (),
    values: tuple[int, ...] = (),
) -> SparseLabels:
    """The labels on ``planes`` and nothing else.

    Parameters
    ----------
    dense : (Z, Y, X) integers
    geometry : its grid
    planes : the slices to keep
    names : of the structures
    values : that the structures have in ``dense``; without them they are 1..n

    Raises
    ------
    AnnotationError
        If ``dense`` has values that are no classes.
    GeometryError
        If ``dense`` or a plane do not fit the grid.
    """
    if values:
        dense = _in_classes(dense, values)
    check_labelmap(dense, geometry)
    planes = tuple(sorted(set(planes)))
    check_planes(planes, geometry)
    array = new_array(dense.shape, np.uint8, UNLABELED)
    for plane in planes:
        array[plane.voxels] = dense[plane.voxels]
    return SparseLabels(array, geometry, planes, names, values=values)


def _in_classes(dense: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """Labels of any values as the classes 1..n."""
    check_structures(values, "The labelmap")
    unknown = set(values_in(dense)) - {0, *values}
    if unknown or UNLABELED in values:
        raise AnnotationError(
            f"The labelmap has the value {min(unknown, default=UNLABELED)}, which is none of its structures.",
            "255 means unlabeled: give that structure another value." if UNLABELED in {*unknown, *values} else "",
        )
    return encoded(dense, {0: 0, **{value: number for number, value in enumerate(values, start=1)}})


def _extent(dense: np.ndarray) -> list[tuple[int, int]]:
    places = np.nonzero(dense)
    if not places[0].size:
        raise AnnotationError("The labelmap is empty.", "Choose one with a segment in it.")
    return [(int(place.min()), int(place.max())) for place in places]
