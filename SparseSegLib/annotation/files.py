"""Sparse labels in files: a labelmap, and the annotated planes beside it as JSON."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from SparseSegLib.annotation.build import sparse_labels_from_segments
from SparseSegLib.annotation.find import find_planes, is_dense
from SparseSegLib.annotation.plane_list import PlaneList, checksum, planes_path, read_plane_list, write_plane_list
from SparseSegLib.annotation.planes import Plane
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.annotation.values import check_structures, decoded, encoded, values_in
from SparseSegLib.errors import AnnotationError, FileError, GeometryError
from SparseSegLib.image import Geometry, place, whole_voxel_offset
from SparseSegLib.io import SegmentInfo, check_drawn, default_segment, read_labels, write_labels

MOST_VOXELS = 2**28
"""Of a grid that a list of planes may name whatever its labels are."""

BACKGROUND = "background"
"""A segment of this name (in any case) contains background strokes."""


def write_sparse_labels(labels: SparseLabels, path: Path) -> None:
    """Write labels and planes.

    As ``.seg.nrrd`` the classes become segments and labeled background off the planes a segment "background"; in the
    other formats unlabeled voxels have the value 255. Structures have the user's own values.

    Raises
    ------
    AnnotationError
        If a class is named "background": it would be read as background strokes. If a value is none of a structure.
    """
    path = Path(path)
    if any(_is_background(name) for name in labels.names):
        raise AnnotationError(
            f"A class is named {BACKGROUND}, which is kept for background strokes.", "Give that class another name."
        )
    names, values = labels.own_names, labels.own_values
    if UNLABELED in values:
        raise AnnotationError("A structure has the value 255, which means unlabeled.", "Give it another value.")
    check_structures(values, "The annotation")
    pairs = sorted({**dict(labels.empty), **dict(zip(values, names, strict=True))}.items())
    segments = [replace(default_segment(value), name=name) for value, name in pairs]
    if is_segmentation(path):
        array = decoded(labels.array, values, {UNLABELED: 0})
        strokes = labels.strokes & (labels.array == 0)
        if strokes.any():
            free = next(value for value in range(1, 257) if value != UNLABELED and value not in dict(pairs))
            array = array.astype(np.promote_types(array.dtype, np.min_scalar_type(free)), copy=False)
            array[strokes] = free
            segments.append(SegmentInfo(free, BACKGROUND, (0.5, 0.5, 0.5)))
    else:
        array = decoded(labels.array, values)
    write_labels(array, labels.geometry, path, segments)
    listed = PlaneList(
        labels.planes,
        tuple(name for _, name in pairs),
        labels.geometry,
        labels.oblique,
        checksum(array),
        tuple(value for value, _ in pairs),
        explicit=not is_segmentation(path),
    )
    write_plane_list(path, listed)


def read_sparse_labels(
    path: Path, reference: Geometry | None = None, *, resample_to: bool = False, series_uid: str = ""
) -> SparseLabels:
    """Read labels and planes; where no planes are listed they are found.

    Where they are listed, but the labels were edited since, those that are found are added. The structures that occur
    become the classes 1..n, whatever their values are.

    Parameters
    ----------
    path : labels in any format that ``read_labels`` reads
    reference : the volume's grid; labels that cover a part of it (as Slicer saves them) are put in their place
    resample_to : bring labels of another grid to ``reference``, planes to the nearest slice
    series_uid : which DICOM series, if ``path`` is a folder that has several

    Raises
    ------
    FileError
        If the labels or the list of planes are damaged, or the list does not fit the labels.
    GeometryError
        If the labels lie on another grid than ``reference`` and ``resample_to`` is false.
    AnnotationError
        If the file has dense labels, so that the annotated slices are not known. Or if its values are no structures',
        or nothing is drawn in it.
    """
    path = Path(path)
    raw, geometry, segments = read_labels(path, reference, series_uid=series_uid)
    found = values_in(raw)
    explicit = UNLABELED in found
    strokes = {info.value for info in segments if _is_background(info.name) and info.value > 0}
    values = tuple(value for value in found if value not in {0, UNLABELED, *strokes})
    background = np.isin(raw, sorted(strokes)) if strokes else None
    _check_values(path, values, explicit=explicit, scribbled=background is not None and bool(background.any()))
    codes = {0: 0, UNLABELED: UNLABELED, **dict.fromkeys(strokes, 0)}
    array = encoded(raw, codes | {value: number for number, value in enumerate(values, start=1)})
    listed = read_plane_list(path)
    if listed is None or (reference is not None and not geometry.matches(reference)):
        check_drawn(raw, path)
    listed = listed or PlaneList((), (), None, checksum="none")
    counted = listed.geometry or geometry
    _check_room(planes_path(path), counted, geometry, reference)
    edited = _is_edited(path, raw, geometry, counted, listed, UNLABELED if explicit else 0)
    if edited and is_dense(array):
        raise AnnotationError(
            f"{path} holds dense labels: nothing says which slices were annotated.",
            "Annotate slices, or make a sparse annotation of it with: sparseseg sparsify",
        )
    explicit = explicit or (listed.explicit and not edited)
    target = counted if explicit else _whole_grid(path, counted, reference)
    array = _placed(path, array, geometry, target, UNLABELED if explicit else 0)
    if background is not None:
        background = _placed(path, background, geometry, target, 0)
    planes = tuple(sorted({*_moved(path, listed.planes, counted, target), *(find_planes(array) if edited else ())}))
    if explicit:
        if background is not None:
            array[background] = 0
        labels = SparseLabels(array, target, planes, oblique=listed.oblique)
    else:
        labels = sparse_labels_from_segments(array, target, planes, background=background, oblique=listed.oblique)
    _check_planes(path, labels)
    known = {value: name for value, name in _names(path, segments, listed).items() if value not in strokes}
    labels = replace(
        labels,
        names=tuple(known.get(value, default_segment(value).name) for value in values),
        values=values,
        empty=tuple((value, name) for value, name in sorted(known.items()) if value not in values),
    )
    return (labels if reference is None else on_grid(labels, reference, path.name, resample_to=resample_to)).compact()


def is_segmentation(path: Path) -> bool:
    """Whether a path is that of a segmentation of 3D Slicer."""
    return path.name.lower().endswith((".seg.nrrd", ".seg.nhdr"))


def _is_background(name: str) -> bool:
    return name.strip().lower() == BACKGROUND


def _check_values(path: Path, values: tuple[int, ...], *, explicit: bool, scribbled: bool) -> None:
    check_structures(values, str(path))
    if explicit and not values and not scribbled:
        raise AnnotationError(
            f"{path} has no class: 255 means unlabeled.", "If 255 is the structure, save it with the value 1."
        )


def _check_room(listed: Path, counted: Geometry, own: Geometry, reference: Geometry | None) -> None:
    """Refuse a grid that is far larger than anything the labels are of, before memory is taken for it."""
    most = max(MOST_VOXELS, 8 * math.prod(own.shape), 2 * math.prod(reference.shape if reference else (0,)))
    if math.prod(counted.shape) > most:
        size = " x ".join(str(side) for side in reversed(counted.shape))
        raise FileError(
            f"{listed} is about a grid of {size} voxels, and the labels are not of such a volume.",
            "Delete it; the planes are then found in the labels.",
        )


def _is_edited(
    path: Path, raw: np.ndarray, geometry: Geometry, counted: Geometry, listed: PlaneList, fill: int
) -> bool:
    """Whether the labels are others than those that the list was written for."""
    if listed.checksum is None:
        return False
    whole = raw if geometry.matches(counted) else _placed(path, raw, geometry, counted, fill)
    return checksum(whole) != listed.checksum


def _whole_grid(path: Path, geometry: Geometry, reference: Geometry | None) -> Geometry:
    """The grid of whole slices: Slicer crops a labelmap to what is drawn, but a finished slice is all of the slice."""
    if reference is None or geometry.matches(reference):
        return geometry
    if whole_voxel_offset(geometry, reference) is not None:
        return reference
    corners = np.array(list(itertools.product(*((0, size - 1) for size in reference.shape))))
    there = geometry.physical_to_index(reference.index_to_physical(corners))
    first = np.minimum(np.floor(there.min(0)), 0).astype(int)
    last = np.maximum(np.ceil(there.max(0)), np.array(geometry.shape) - 1).astype(int)
    z, y, x = (slice(int(low), int(high) + 1) for low, high in zip(first, last, strict=True))
    if math.prod(side.stop - side.start for side in (z, y, x)) > max(MOST_VOXELS, 64 * math.prod(reference.shape)):
        raise GeometryError(
            f"{path} and the volume do not lie in one place at one scale: {reference.difference(geometry)}.",
            "Check that labels and volume belong together.",
        )
    return geometry.crop((z, y, x))


def _placed(path: Path, array: np.ndarray, geometry: Geometry, target: Geometry, fill: int) -> np.ndarray:
    if whole_voxel_offset(geometry, target) is None:
        raise GeometryError(
            f"{planes_path(path)} is about labels of another grid: {target.difference(geometry)}.",
            "Delete it; the planes are then found in the labels.",
        )
    placed = place(array, geometry, target, fill=fill)
    if not _has_other(placed, fill) and _has_other(array, fill):
        raise GeometryError(f"{path} does not overlap the volume.", "Check that labels and volume belong together.")
    return placed


def _has_other(array: np.ndarray, fill: int) -> bool:
    """Whether any voxel has another value; slice by slice, as a mask takes as much memory as labels do."""
    return any(bool((plane != fill).any()) for plane in array)


def _moved(path: Path, planes: tuple[Plane, ...], geometry: Geometry, target: Geometry) -> tuple[Plane, ...]:
    """Planes of one grid on an aligned one; those outside of it go."""
    for plane in planes:
        if not 0 <= plane.index < geometry.shape[plane.axis]:
            raise FileError(
                f"{planes_path(path)} lists slice {plane.index} along {'zyx'[plane.axis]}, which does not exist.",
                "Delete it; the planes are then found in the labels.",
            )
    offset = whole_voxel_offset(geometry, target) or (0, 0, 0)
    moved = (Plane(plane.axis, plane.index + offset[plane.axis]) for plane in planes)
    return tuple(plane for plane in moved if 0 <= plane.index < target.shape[plane.axis])


def _names(path: Path, segments: list[SegmentInfo], listed: PlaneList) -> dict[int, str]:
    """Names by value. A segmentation names its own structures; those of other files the list of planes does."""
    known = {info.value: info.name for info in segments}
    if not is_segmentation(path):
        known |= dict(zip(listed.own_values, listed.names, strict=True))
    return {value: name for value, name in known.items() if value > 0 and value != UNLABELED and name.strip()}


def _check_planes(path: Path, labels: SparseLabels) -> None:
    for plane in labels.planes:
        own = labels.array[plane.voxels] != UNLABELED
        for other in labels.planes:
            if other.axis != plane.axis:
                line = np.moveaxis(own, other.axis - (other.axis > plane.axis), 0)
                line[other.index] = False
        if not own.any():
            raise FileError(
                f"{planes_path(path)} lists slice {plane.index} along {'zyx'[plane.axis]}, "
                f"but nothing on it is labeled in {path.name}.",
                "Delete the list; the planes are then found in the labels.",
            )
