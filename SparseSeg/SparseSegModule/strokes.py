"""The slices that a stroke was drawn on."""

from __future__ import annotations

import numpy as np

from SparseSegLib.annotation import ObliquePlane, Plane
from SparseSegLib.image import Box, Geometry
from SparseSegModule.planes import AnnotatedPlane, PlaneTable
from SparseSegModule.segments import Block


def changedVoxels(before: Block, after: Block) -> np.ndarray:
    """Voxel indices (z, y, x) ``(N, 3)`` at which two states of a segmentation differ."""
    box = _union(before.box, after.box)
    first, second = _on(before, box), _on(after, box)
    corner = np.array([side.start for side in box])
    return np.argwhere(first != second) + corner


def afterStroke(
    table: PlaneTable,
    changed: np.ndarray,
    after: Block,
    geometry: Geometry,
    views: list[ObliquePlane],
    *,
    pressed: Plane | None = None,
    scribble: bool = False,
) -> PlaneTable:
    """The annotated slices after a stroke.

    The slice that it was drawn on is being edited from now on, and every other one is confirmed. A stroke that fills a
    volume (a 3D brush) annotates none, and neither does a line that several slices share. Slices that strokes annotated
    and on which nothing is left (after an undo) go.

    Parameters
    ----------
    table : the slices so far
    changed : (N, 3) voxel indices that the stroke changed
    after : the segments after the stroke
    geometry : the volume's grid
    views : planes of the slice views on display; a stroke on one that is oblique to the grid annotates that plane
    pressed : the slice on which the mouse was pressed, where that is known
    scribble : whether a stroke on a new slice labels its own voxels alone
    """
    if not len(changed):
        return table
    plane = sliceOf(changed, pressed)
    if plane is not None:
        if not scribble or table.find(plane.axis, plane.index) is not None:
            table = table.withEdited(plane)
        table = table.withCrossed(plane, changed)
    elif not scribble:
        pose = _viewOf(changed, geometry, views)
        if pose is not None:
            table = table.withOblique(pose)
    return _withoutEmpty(table, after)


def sliceOf(changed: np.ndarray, pressed: Plane | None = None) -> Plane | None:
    """The one slice on which all changed voxels ``(N, 3)`` lie; None if there is none, or several and none pressed."""
    flat = [axis for axis in range(3) if changed[:, axis].min() == changed[:, axis].max()]
    planes = [Plane(axis, int(changed[0, axis])) for axis in flat]
    return pressed if pressed in planes else planes[0] if len(planes) == 1 else None


def fillsVolume(changed: np.ndarray, geometry: Geometry, views: list[ObliquePlane]) -> bool:
    """Whether voxels ``(N, 3)`` lie on no single slice, of the volume's own or of a view's: a 3D brush, *Threshold*."""
    return bool(len(changed) and np.ptp(changed, axis=0).all()) and _viewOf(changed, geometry, views) is None


def _viewOf(changed: np.ndarray, geometry: Geometry, views: list[ObliquePlane]) -> ObliquePlane | None:
    """The displayed plane on which all the changed voxels lie, if it is oblique to the grid."""
    points = geometry.index_to_physical(changed)
    affine = geometry.affine()[:3, :3]
    for pose in views:
        normal = np.asarray(pose.normal)
        along = np.abs(normal @ affine)
        if (np.delete(along, along.argmax()) < 1e-3 * along.max()).all():
            continue  # along an axis: not oblique
        distance = np.abs((points - np.asarray(pose.point)) @ normal)
        if distance.max() <= np.linalg.norm(along):
            return pose
    return None


def _withoutEmpty(table: PlaneTable, after: Block) -> PlaneTable:
    for plane in table.planes:
        if not plane.declared and not _holdsOwn(after, table, plane):
            table = table.without(plane.axis, plane.index)
    return table


def _holdsOwn(block: Block, table: PlaneTable, plane: AnnotatedPlane) -> bool:
    """Whether anything is drawn on a slice but the lines that crossing annotated slices leave on it."""
    side = block.box[plane.axis]
    if not side.start <= plane.index < side.stop:
        return False
    drawn = np.take(block.labels, plane.index - side.start, plane.axis) > 0
    axes = [axis for axis in range(3) if axis != plane.axis]
    for other in table.planes:
        if other.axis in axes:
            place = other.index - block.box[other.axis].start
            row = axes.index(other.axis)
            if 0 <= place < drawn.shape[row]:
                drawn[(slice(None),) * row + (place,)] = False
    return bool(drawn.any())


def segmentsOn(block: Block, axis: int, index: int) -> list[int]:
    """The class values that occur on a slice."""
    side = block.box[axis]
    if not side.start <= index < side.stop:
        return []
    values = np.unique(np.take(block.labels, index - side.start, axis))
    return [int(value) for value in values if value > 0]


def _union(first: Box, second: Box) -> Box:
    sides = []
    for one, other in zip(first, second, strict=True):
        if one.start == one.stop:
            sides.append(other)
        elif other.start == other.stop:
            sides.append(one)
        else:
            sides.append(slice(min(one.start, other.start), max(one.stop, other.stop)))
    return sides[0], sides[1], sides[2]


def _on(block: Block, box: Box) -> np.ndarray:
    """The block's labels on ``box``, which contains it."""
    out: np.ndarray = np.zeros([side.stop - side.start for side in box], np.uint8)
    if block.labels.size:
        z, y, x = (
            slice(inner.start - outer.start, inner.stop - outer.start)
            for inner, outer in zip(block.box, box, strict=True)
        )
        out[z, y, x] = block.labels
    return out
