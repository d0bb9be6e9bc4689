"""The slices that a stroke was drawn on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from SparseSegLib.annotation import ObliquePlane, Plane
from SparseSegLib.image import Geometry
from SparseSegModule.planes import AnnotatedPlane, PlaneTable


def afterStroke(
    table: PlaneTable,
    changed: np.ndarray,
    after: np.ndarray,
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
    after : (Z, Y, X) classes after the stroke
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
    return _withoutEmpty(table, changed, after)


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


def _withoutEmpty(table: PlaneTable, changed: np.ndarray, after: np.ndarray) -> PlaneTable:
    """Without the slices on which the change erased what was left, but for lines of crossing slices."""
    erased = changed[after[tuple(changed.T)] == 0]
    for plane in table.planes:
        touched = bool((erased[:, plane.axis] == plane.index).any())
        if touched and not plane.declared and not _holdsOwn(after, table, plane):
            table = table.without(plane.axis, plane.index)
    return table


def _holdsOwn(labels: np.ndarray, table: PlaneTable, plane: AnnotatedPlane) -> bool:
    """Whether anything is drawn on a slice but the lines that crossing annotated slices leave on it."""
    drawn = labels[plane.plane.voxels] > 0
    lines = crossingLines([other.plane for other in table.planes], plane.plane, drawn.shape)
    return bool((drawn & ~lines).any())


def crossingLines(planes: Iterable[Plane], plane: Plane, shape: tuple[int, ...]) -> np.ndarray:
    """The lines in which some planes cross another one, as a mask ``(U, V)`` of its ``shape``."""
    lines = np.zeros(shape, bool)
    axes = [axis for axis in range(3) if axis != plane.axis]
    for other in planes:
        if other.axis in axes:
            lines[(slice(None),) * axes.index(other.axis) + (other.index,)] = True
    return lines


def segmentsOn(labels: np.ndarray, plane: Plane, classes: int) -> list[int]:
    """Those of the classes 1..n that occur on a slice of ``(Z, Y, X)`` labels."""
    drawn = np.ascontiguousarray(labels[plane.voxels])
    return [value for value in range(1, classes + 1) if (drawn == value).any()]
