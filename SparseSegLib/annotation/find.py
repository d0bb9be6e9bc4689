"""Finding the annotated slices in a labelmap that was drawn earlier."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SparseSegLib.annotation.planes import Plane
from SparseSegLib.annotation.runs import one_slice_a_run
from SparseSegLib.annotation.sparse_labels import UNLABELED
from SparseSegLib.image import Box

LEAST_AREA = 4  # pixels that a drawn outline must have inside
FILLED_SHARE = 0.5  # of what is on an annotated slice; the rest are the lines that crossing slices leave
DENSE_SHARE = 0.5


def find_planes(labelmap: np.ndarray) -> list[Plane]:
    """The planes of ``(Z, Y, X)`` integers on which segments were drawn slice by slice.

    In a labelmap with ``UNLABELED`` voxels these are the planes that are labeled all over. In one without, a voxel that
    was drawn on an axial slice has neighbors of its segment within that slice, in both of its directions; where it
    belongs to another plane it has them in that plane only. So each segment voxel is given to the planes in which it
    lies within a filled area, and a plane is annotated if it contains such an area that no crossing plane explains and
    that is most of what it contains. Adjacent annotated slices count as one. A dense labelmap has no planes (see
    :func:`is_dense`).

    Strokes thinner than three pixels make no plane, nor do balls of a 3D brush. A wider stroke cannot be distinguished
    from a slice unless annotated slices cross there, nor can an empty slice from an unlabeled one: ask the user where
    you can.
    """
    if _is_explicit(labelmap):
        return _labeled_all_over(labelmap)
    box = _box(labelmap)
    if box is None:
        return []
    drawn, runs = one_slice_a_run(labelmap[box] > 0, labelmap.shape)
    if _is_solid(drawn):
        return []
    flat = [_filled_within(drawn, axis) for axis in range(3)]
    found = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        crossed = flat[others[0]] | flat[others[1]]
        own = (flat[axis] & ~crossed).sum(others)
        shared = (flat[axis] & crossed).sum(others)
        most = flat[axis].sum(others) >= FILLED_SHARE * drawn.sum(others)
        for place in np.flatnonzero((own >= LEAST_AREA) & (own >= 0.5 * shared) & most):
            found += [Plane(axis, box[axis].start + index) for index in runs[axis][place]]
    return sorted(found)


def is_dense(labelmap: np.ndarray) -> bool:
    """Whether segments fill volumes rather than slices: most of their voxels lie in solid 3×3×3 blocks.

    A few adjacent slices count as one: they are no volume.
    """
    if _is_explicit(labelmap):
        return False
    box = _box(labelmap)
    return box is not None and _is_solid(one_slice_a_run(labelmap[box] > 0, labelmap.shape)[0])


def _is_explicit(labelmap: np.ndarray) -> bool:
    """Whether some voxels are unlabeled; slice by slice, as masks of a large volume take as much memory as it does."""
    return any(bool((plane == UNLABELED).any()) for plane in labelmap)


def _labeled_all_over(labelmap: np.ndarray) -> list[Plane]:
    """The planes without an unlabeled voxel."""
    axial, rows, columns = (np.ones(size, bool) for size in labelmap.shape)
    for index, plane in enumerate(labelmap):
        labeled = plane != UNLABELED
        axial[index] = labeled.all()
        rows &= labeled.all(1)
        columns &= labeled.all(0)
    return [
        Plane(axis, int(index)) for axis, whole in enumerate((axial, rows, columns)) for index in np.flatnonzero(whole)
    ]


def _is_solid(drawn: np.ndarray) -> bool:
    solid = ndimage.binary_opening(drawn, np.ones((3, 3, 3), bool))
    return int(solid.sum()) > DENSE_SHARE * int(drawn.sum())


def _box(labelmap: np.ndarray) -> Box | None:
    """The bounding box of the segments, or None if there are none."""
    boxes = ndimage.find_objects((labelmap > 0).astype(np.uint8))
    return boxes[0] if boxes else None


def _filled_within(drawn: np.ndarray, axis: int) -> np.ndarray:
    """Voxels that belong to an area at least 3×3 voxels large within their plane across ``axis``."""
    structure = np.ones([1 if other == axis else 3 for other in range(3)], bool)
    return ndimage.binary_opening(drawn, structure)
