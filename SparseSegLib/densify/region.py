"""The region of interest around an annotation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels
from SparseSegLib.errors import AnnotationError, GeometryError
from SparseSegLib.image import Box, Geometry

LEAST_MARGIN = 4  # voxels
DEEP = 1.5  # of an object's width on a single plane, the depth of its region


def region_of_interest(labels: SparseLabels, margin: float = 0.1, chosen: Box | None = None) -> Box:
    """The part of the volume to work on: what was chosen, or the bounding box of the annotated objects and some room.

    Parameters
    ----------
    labels : SparseLabels
        At least one voxel must be labeled with a class other than background.
    margin : float
        Fraction of the box's extent to add on each side; at least four voxels. If all planes lie across one axis, then
        along it at least half of the widest gap between them, since the object may go on until there; around a single
        plane three quarters of the object's width on it: as if the object were as deep as it is wide, and the plane
        anywhere in the middle half of it.
    chosen : Box, optional
        The part of it that lies in the volume is the region then.

    Raises
    ------
    GeometryError
        If the chosen box lies outside of the volume.
    AnnotationError
        If nothing is annotated in it.
    """
    if chosen is not None:
        return _chosen_region(labels, chosen)
    return region_around(labels.bounding_box("objects"), labels.planes, labels.geometry, margin)


def region_around(box: Box, planes: Sequence[Plane], geometry: Geometry, margin: float) -> Box:
    """The region of interest around objects in ``box`` on annotated ``planes``; see :func:`region_of_interest`."""
    one_orientation = len({plane.axis for plane in planes}) == 1
    width = max((side.stop - side.start) * step for side, step in zip(box, geometry.spacing, strict=True))
    region = []
    for axis, (side, size) in enumerate(zip(box, geometry.shape, strict=True)):
        places = sorted(plane.index for plane in planes if plane.axis == axis)
        deep = round(DEEP * width / geometry.spacing[axis]) if len(places) == 1 else 0
        gap = max((after - before for before, after in pairwise(places)), default=deep)
        room = max(LEAST_MARGIN, round(margin * (side.stop - side.start)), gap // 2 if one_orientation else 0)
        region.append(slice(max(0, side.start - room), min(size, side.stop + room)))
    return region[0], region[1], region[2]


def _chosen_region(labels: SparseLabels, chosen: Box) -> Box:
    z, y, x = (
        slice(max(0, side.start), min(size, side.stop)) for side, size in zip(chosen, labels.array.shape, strict=True)
    )
    if any(side.stop <= side.start for side in (z, y, x)):
        raise GeometryError("The region of interest lies outside of the volume.", "Move it to where you annotated.")
    if not set(np.unique(labels.array[z, y, x]).tolist()) - {0, UNLABELED}:
        raise AnnotationError("Nothing is annotated in the region of interest.", "Move it to where you annotated.")
    return z, y, x


def reached_edges(labels: np.ndarray, box: Box) -> tuple[Plane, ...]:
    """The outermost slices of a region that structures reach although the volume goes on beyond them.

    Parameters
    ----------
    labels : (Z, Y, X)
        Of the whole volume; 0 is background.
    box : the region
    """
    return tuple(
        Plane(axis, index)
        for axis, (side, size) in enumerate(zip(box, labels.shape, strict=True))
        for index, goes_on in ((side.start, side.start > 0), (side.stop - 1, side.stop < size))
        if goes_on and np.take(labels[box], index - side.start, axis).any()
    )
