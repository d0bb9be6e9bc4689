"""Sparse labels on another grid: put in their place, or resampled without making up labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SparseSegLib.annotation.planes import ObliquePlane, Plane
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.errors import GeometryError
from SparseSegLib.image import Geometry, place, resample, whole_voxel_offset

TILT = 1.0  # voxels that an annotated slice may depart from a slice of the other grid and still become that slice


def on_grid(labels: SparseLabels, reference: Geometry, name: str, *, resample_to: bool = False) -> SparseLabels:
    """The labels on the grid ``reference``: as they are, put in their place, or resampled if that is allowed.

    What the labels' own grid does not cover is unlabeled, and a plane that is thereby not labeled all over is no
    annotated plane any more: its voxels stay labeled, as scribbles.

    Raises
    ------
    GeometryError
        If the grids do not align and ``resample_to`` is false, or if they do not overlap; ``name`` is for the message.
    """
    if labels.geometry.matches(reference):
        return replace(labels, geometry=reference)
    offset = whole_voxel_offset(labels.geometry, reference)
    if offset is None and not resample_to:
        raise GeometryError(
            f"{name} does not lie on the volume's grid: {reference.difference(labels.geometry)}.",
            "Add --resample to bring it there, or draw on the volume itself.",
        )
    if offset is not None:
        array = place(labels.array, labels.geometry, reference, fill=UNLABELED)
        planes = {Plane(plane.axis, plane.index + offset[plane.axis]) for plane in labels.planes}
    else:
        array, planes = _resampled(labels, reference)
    if labels.labeled.any() and (array == UNLABELED).all():
        raise GeometryError(f"{name} does not overlap the volume.", "Check that labels and volume belong together.")
    kept = tuple(plane for plane in sorted(planes) if _labeled_all_over(array, plane))
    return replace(labels, array=array, geometry=reference, planes=kept)


def _labeled_all_over(array: np.ndarray, plane: Plane) -> bool:
    return 0 <= plane.index < array.shape[plane.axis] and bool((array[plane.voxels] != UNLABELED).all())


def _resampled(labels: SparseLabels, reference: Geometry) -> tuple[np.ndarray, set[Plane]]:
    """Scribbles by nearest neighbor; a plane goes to the nearest slice, or where it is tilted, to the voxels on it."""
    array = _scribbles(labels, reference)
    targets = {plane: _nearest_slice(plane, labels.geometry, reference) for plane in labels.planes}
    # the nearest comes last, and so it wins where several slices become one
    for plane, (target, distance) in sorted(targets.items(), key=lambda item: -item[1][1]):
        inside = 0 <= target.index < reference.shape[target.axis]
        straight = distance <= TILT
        if straight and not inside:
            continue
        there = resample(*_slab(labels, plane, reference), reference, order="nearest", fill=UNLABELED)
        mask = np.zeros(reference.shape, bool)
        if straight:
            mask[target.voxels] = True
        else:
            mask = _pose(plane, labels.geometry).mask(reference)
        mask &= there != UNLABELED
        array[mask] = there[mask]
    return array, {target for target, distance in targets.values() if distance <= TILT}


def _scribbles(labels: SparseLabels, reference: Geometry) -> np.ndarray:
    """Scribbles by nearest neighbor, and the voxels nearest to them, so that a coarser grid loses no stroke."""
    scribbles = np.where(labels.scribbles, labels.array, UNLABELED).astype(np.uint8)
    array = resample(scribbles, labels.geometry, reference, order="nearest", fill=UNLABELED)
    points = np.argwhere(scribbles != UNLABELED)
    if not len(points):
        return array
    places = np.rint(reference.physical_to_index(labels.geometry.index_to_physical(points))).astype(int)
    inside = ((places >= 0) & (places < reference.shape)).all(1)
    at, values = tuple(places[inside].T), scribbles[tuple(points[inside].T)]
    array[at] = np.where(array[at] == UNLABELED, values, array[at])
    return array


def _nearest_slice(plane: Plane, source: Geometry, reference: Geometry) -> tuple[Plane, float]:
    """The slice of ``reference`` nearest to the middle of a plane, and how far off the plane's corners are, voxels."""
    axis = int(np.abs(_normals(reference) @ _normals(source)[plane.axis]).argmax())
    sides = [(0, (size - 1) / 2, size - 1) for size in source.shape]
    sides[plane.axis] = (plane.index,) * 3
    corners = np.stack([side.ravel() for side in np.meshgrid(*sides, indexing="ij")], axis=1)
    here = reference.physical_to_index(source.index_to_physical(corners))[:, axis]
    index = int(np.rint(np.median(here)))
    return Plane(axis, index), float(np.abs(here - index).max())


def _normals(geometry: Geometry) -> np.ndarray:
    """Unit normals (LPS) of the slices across each axis, one per row."""
    rows = np.linalg.inv(geometry.affine()[:3, :3])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _slab(labels: SparseLabels, plane: Plane, reference: Geometry) -> tuple[np.ndarray, Geometry]:
    """One slice as a volume of a single, very thick slice: its nearest voxel is found from any distance.

    It is one voxel of ``reference`` wider than the slice, since the rims of two grids rarely meet.
    """
    source = labels.geometry
    drawn = np.expand_dims(np.take(labels.array, plane.index, plane.axis), plane.axis)
    rim = [int(np.ceil(max(reference.spacing) / step)) for step in source.spacing]
    rim[plane.axis] = 0
    drawn = np.pad(drawn, [(width, width) for width in rim], mode="edge")
    corner = -np.array(rim, float)
    corner[plane.axis] = plane.index
    thick = 1e3 * (sum(source.spacing) + sum(reference.spacing))
    z, y, x = (thick if axis == plane.axis else step for axis, step in enumerate(source.spacing))
    return drawn, Geometry(drawn.shape, (z, y, x), tuple(source.index_to_physical(corner)), source.direction)


def _pose(plane: Plane, geometry: Geometry) -> ObliquePlane:
    """The pose of a plane of the grid in space."""
    point = np.zeros(3)
    point[plane.axis] = plane.index
    x, y, z = geometry.index_to_physical(point)
    normal = _normals(geometry)[plane.axis]
    return ObliquePlane((float(x), float(y), float(z)), (float(normal[0]), float(normal[1]), float(normal[2])))
