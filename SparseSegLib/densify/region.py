"""The region of interest around an annotation."""

from __future__ import annotations

from itertools import pairwise

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.image import Box

LEAST_MARGIN = 4  # voxels


def region_of_interest(labels: SparseLabels, margin: float = 0.1) -> Box:
    """The bounding box of the annotated objects and some room around it.

    Parameters
    ----------
    labels : SparseLabels
        At least one voxel must be labeled with a class other than background.
    margin : float
        Fraction of the box's extent to add on each side; at least four voxels. If all planes lie across one axis, then
        along it at least half of the widest gap between them, since the object may go on until there; around a single
        plane half of the object's width on it, as if the object were as deep as it is wide.
    """
    box = labels.bounding_box("objects")
    one_orientation = len({plane.axis for plane in labels.planes}) == 1
    width = max((side.stop - side.start) * step for side, step in zip(box, labels.geometry.spacing, strict=True))
    region = []
    for axis, (side, size) in enumerate(zip(box, labels.array.shape, strict=True)):
        places = sorted(plane.index for plane in labels.planes if plane.axis == axis)
        deep = round(width / labels.geometry.spacing[axis]) if len(places) == 1 else 0
        gap = max((after - before for before, after in pairwise(places)), default=deep)
        room = max(LEAST_MARGIN, round(margin * (side.stop - side.start)), gap // 2 if one_orientation else 0)
        region.append(slice(max(0, side.start - room), min(size, side.stop + room)))
    return region[0], region[1], region[2]
