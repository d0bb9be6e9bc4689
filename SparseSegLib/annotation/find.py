"""Finding the annotated slices in a labelmap that was drawn earlier."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SparseSegLib.annotation.planes import Plane
from SparseSegLib.annotation.sparse_labels import UNLABELED

LEAST_AREA = 4  # pixels that a drawn outline must have inside
DENSE_SHARE = 0.5


def find_planes(labelmap: np.ndarray) -> list[Plane]:
    """The planes of ``(Z, Y, X)`` integers on which segments were drawn slice by slice.

    In a labelmap with ``UNLABELED`` voxels these are the planes that are labeled all over. In one without, a voxel that
    was drawn on an axial slice has neighbors of its segment within that slice, in both of its directions; where it
    belongs to another plane it has them in that plane only. So each segment voxel is given to the planes in which it
    lies within a filled area, and a plane is annotated if it holds such an area that no crossing plane explains. Loose
    strokes thinner than three pixels make no plane, and a dense labelmap has none (see :func:`is_dense`).
    """
    if (labelmap == UNLABELED).any():
        labeled = labelmap != UNLABELED
        return [
            Plane(axis, int(index))
            for axis in range(3)
            for index in np.flatnonzero(labeled.all(tuple(other for other in range(3) if other != axis)))
        ]
    if is_dense(labelmap):
        return []
    drawn = labelmap > 0
    flat = [_filled_within(drawn, axis) for axis in range(3)]
    found = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        crossed = flat[others[0]] | flat[others[1]]
        own = (flat[axis] & ~crossed).sum(others)
        shared = (flat[axis] & crossed).sum(others)
        found += [Plane(axis, int(index)) for index in np.flatnonzero((own >= LEAST_AREA) & (own >= 0.5 * shared))]
    return sorted(found)


def is_dense(labelmap: np.ndarray) -> bool:
    """Whether segments fill volumes rather than slices: most of their voxels lie in solid 3×3×3 blocks."""
    if (labelmap == UNLABELED).any():
        return False
    drawn = labelmap > 0
    total = int(drawn.sum())
    if not total:
        return False
    solid = ndimage.binary_opening(drawn, np.ones((3, 3, 3), bool))
    return int(solid.sum()) > DENSE_SHARE * total


def _filled_within(drawn: np.ndarray, axis: int) -> np.ndarray:
    """Voxels that belong to an area at least 3×3 voxels large within their plane across ``axis``."""
    structure = np.ones([1 if other == axis else 3 for other in range(3)], bool)
    return ndimage.binary_opening(drawn, structure)
