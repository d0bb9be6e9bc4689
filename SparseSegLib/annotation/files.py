"""Sparse labels in files: a labelmap, and the annotated planes beside it as JSON."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from SparseSegLib.annotation.build import sparse_labels_from_segments
from SparseSegLib.annotation.find import find_planes, is_dense
from SparseSegLib.annotation.plane_list import PlaneList, checksum, planes_path, read_plane_list, write_plane_list
from SparseSegLib.annotation.planes import Plane
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.errors import AnnotationError, FileError, GeometryError
from SparseSegLib.geometry import Geometry, place, whole_voxel_offset
from SparseSegLib.io import SegmentInfo, default_segment, read_labels, write_labels

BACKGROUND = "background"
"""A segment of this name (in any case) holds background strokes."""


def write_sparse_labels(labels: SparseLabels, path: Path) -> None:
    """Write labels and planes.

    As ``.seg.nrrd`` the classes become segments and labeled background off the planes a segment "background"; in the
    other formats unlabeled voxels have the value 255.

    Raises
    ------
    AnnotationError
        If a class is named "background": it would be read as background strokes.
    """
    path = Path(path)
    if any(_is_background(name) for name in labels.names):
        raise AnnotationError(
            f"A class is named {BACKGROUND}, which is kept for background strokes.", "Give that class another name."
        )
    names = [*labels.names, *(default_segment(value).name for value in range(len(labels.names) + 1, labels.classes))]
    segments = [replace(default_segment(value), name=name) for value, name in enumerate(names, start=1)]
    array = labels.array
    if _is_segmentation(path):
        strokes = labels.strokes & (array == 0)
        array = np.where(array == UNLABELED, 0, array)
        if strokes.any():
            array[strokes] = len(names) + 1
            segments.append(SegmentInfo(len(names) + 1, BACKGROUND, (0.5, 0.5, 0.5)))
    write_labels(array, labels.geometry, path, segments)
    listed = PlaneList(labels.planes, labels.names, labels.geometry, labels.oblique, checksum(array))
    write_plane_list(path, listed)


def read_sparse_labels(
    path: Path, reference: Geometry | None = None, *, resample_to: bool = False, series_uid: str = ""
) -> SparseLabels:
    """Read labels and planes; where no planes are listed they are found.

    Where they are listed, but the labels were edited since, those that are found are added.

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
        If the file holds dense labels: nothing says which slices were annotated. Or if its values are no classes.
    """
    path = Path(path)
    raw, geometry, segments = read_labels(path, series_uid=series_uid)
    array, background, segments = _split_background(raw, segments)
    explicit = bool((array == UNLABELED).any())
    _check_values(path, array, background)
    listed = read_plane_list(path) or PlaneList((), (), None, checksum="none")
    counted = listed.geometry or geometry
    edited = _is_edited(path, raw, geometry, counted, listed)
    if edited and is_dense(array):
        raise AnnotationError(
            f"{path} holds dense labels: nothing says which slices were annotated.",
            "Annotate slices, or make a sparse annotation of it with: sparseseg sparsify",
        )
    target = counted if explicit else _whole_grid(counted, reference)
    array, background = (
        _placed(path, layer, geometry, target, fill)
        for layer, fill in ((array, UNLABELED if explicit else 0), (background, 0))
    )
    found = find_planes(array) if edited else ()
    planes = tuple(sorted({*_moved(path, listed.planes, counted, target), *found}))
    names = _names(path, segments, listed)
    if explicit:
        array = np.where(background, 0, array).astype(np.uint8)
        labels = SparseLabels(array, target, planes, names, listed.oblique)
    else:
        labels = sparse_labels_from_segments(
            array, target, planes, background=background, oblique=listed.oblique, names=names
        )
    _check_planes(path, labels)
    return labels if reference is None else on_grid(labels, reference, path.name, resample_to=resample_to)


def _is_segmentation(path: Path) -> bool:
    return path.name.lower().endswith(".seg.nrrd")


def _is_background(name: str) -> bool:
    return name.strip().lower() == BACKGROUND


def _split_background(
    array: np.ndarray, segments: list[SegmentInfo]
) -> tuple[np.ndarray, np.ndarray, list[SegmentInfo]]:
    """Take background strokes out of the classes: the labels without them, their mask, the other segments.

    The classes that follow move up, so that none in between is empty.
    """
    strokes = sorted({info.value for info in segments if _is_background(info.name) and info.value > 0})
    background = np.isin(array, strokes)
    if not strokes:
        return array, background, segments
    rest = [info for info in segments if info.value not in strokes]
    rest = [replace(info, value=info.value - int(np.searchsorted(strokes, info.value))) for info in rest]
    moved = array - np.searchsorted(strokes, array).astype(array.dtype)
    return np.where(background, 0, moved).astype(array.dtype), background, rest


def _check_values(path: Path, array: np.ndarray, background: np.ndarray) -> None:
    if not 0 <= array.min() <= array.max() <= UNLABELED:
        raise AnnotationError(
            f"{path} has the values {array.min()} to {array.max()}; classes are 1 to 254, and 255 is unlabeled.",
            "Number the classes 1, 2, 3 and so on.",
        )
    if (array == UNLABELED).any() and not ((array > 0) & (array < UNLABELED)).any() and not background.any():
        raise AnnotationError(
            f"{path} has no class: 255 means unlabeled.", "If 255 is the structure, save it with the value 1."
        )


def _is_edited(path: Path, raw: np.ndarray, geometry: Geometry, counted: Geometry, listed: PlaneList) -> bool:
    """Whether the labels are others than those that the list was written for."""
    if listed.checksum is None:
        return False
    fill = UNLABELED if (raw == UNLABELED).any() else 0
    whole = raw if geometry.matches(counted) else _placed(path, raw, geometry, counted, fill)
    return checksum(whole) != listed.checksum


def _whole_grid(geometry: Geometry, reference: Geometry | None) -> Geometry:
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
    return geometry.crop((z, y, x))


def _placed(path: Path, array: np.ndarray, geometry: Geometry, target: Geometry, fill: int) -> np.ndarray:
    if whole_voxel_offset(geometry, target) is None:
        raise GeometryError(
            f"{planes_path(path)} is about labels of another grid: {target.difference(geometry)}.",
            "Delete it; the planes are then found in the labels.",
        )
    placed = place(array, geometry, target, fill=fill)
    if (array != fill).any() and not (placed != fill).any():
        raise GeometryError(f"{path} does not overlap the volume.", "Check that labels and volume belong together.")
    return placed


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


def _names(path: Path, segments: list[SegmentInfo], listed: PlaneList) -> tuple[str, ...]:
    """A segmentation names its own classes; of other files the list of planes does."""
    if listed.names and not _is_segmentation(path):
        return listed.names
    known = {info.value: info.name for info in segments if info.value not in (0, UNLABELED)}
    return tuple(known.get(value, default_segment(value).name) for value in range(1, max(known, default=0) + 1))


def _check_planes(path: Path, labels: SparseLabels) -> None:
    for plane in labels.planes:
        if (labels.array[plane.voxels] == UNLABELED).any():
            raise FileError(
                f"{planes_path(path)} lists slice {plane.index} along {'zyx'[plane.axis]}, "
                f"but not all of it is labeled in {path.name}.",
                "Delete the list; the planes are then found in the labels.",
            )
