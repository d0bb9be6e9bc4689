"""Sparse labels in files: a labelmap, and the annotated planes beside it as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from SparseSegLib.annotation.build import sparse_labels_from_segments
from SparseSegLib.annotation.find import find_planes, is_dense
from SparseSegLib.annotation.planes import Plane
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.errors import AnnotationError, FileError, GeometryError
from SparseSegLib.geometry import Geometry, place, resample, whole_voxel_offset
from SparseSegLib.io import SegmentInfo, default_segment, read_labels, write_json, write_labels

BACKGROUND = "background"
"""A segment of this name (in any case) holds background strokes."""


def planes_path(path: Path) -> Path:
    """Where the planes of the labels at ``path`` are kept: ``NAME.planes.json`` beside it."""
    name = path.name
    for ending in (".seg.nrrd", ".nii.gz"):
        if name.lower().endswith(ending):
            return path.with_name(name[: -len(ending)] + ".planes.json")
    return path.with_suffix(".planes.json")


def write_sparse_labels(labels: SparseLabels, path: Path) -> None:
    """Write labels and planes.

    As ``.seg.nrrd`` the classes become segments and labeled background off the planes a segment "background"; in the
    other formats unlabeled voxels have the value 255.
    """
    path = Path(path)
    names = [*labels.names, *(default_segment(value).name for value in range(len(labels.names) + 1, labels.classes))]
    segments = [replace(default_segment(value), name=name) for value, name in enumerate(names, start=1)]
    array = labels.array
    if path.name.lower().endswith(".seg.nrrd"):
        strokes = labels.scribbles & (array == 0)
        array = np.where(array == UNLABELED, 0, array)
        if strokes.any():
            array[strokes] = len(names) + 1
            segments.append(SegmentInfo(len(names) + 1, BACKGROUND, (0.5, 0.5, 0.5)))
    write_labels(array, labels.geometry, path, segments)
    planes = [{"axis": "zyx"[plane.axis], "index": plane.index} for plane in labels.planes]
    write_json(planes_path(path), {"format": 1, "planes": planes, "names": list(labels.names)})


def read_sparse_labels(path: Path, reference: Geometry | None = None, *, resample_to: bool = False) -> SparseLabels:
    """Read labels and planes; where no planes are stored they are found.

    Parameters
    ----------
    path : labels in any format that ``read_labels`` reads
    reference : the volume's grid; labels that cover a part of it (as Slicer saves them) are put in their place
    resample_to : bring labels of another grid to ``reference``, planes to the nearest slice

    Raises
    ------
    FileError, GeometryError
        If the labels lie on another grid than ``reference`` and ``resample_to`` is false.
    AnnotationError
        If the file holds dense labels: nothing says which slices were annotated.
    """
    path = Path(path)
    array, geometry, segments = read_labels(path)
    strokes = [info.value for info in segments if info.name.strip().lower() == BACKGROUND and info.value != 0]
    background = np.isin(array, strokes)
    array = np.where(background, 0, array)
    stored = _stored_planes(path)
    if stored is None and is_dense(array):
        raise AnnotationError(
            f"{path} holds dense labels: nothing says which slices were annotated.",
            "Annotate slices, or make a sparse annotation of it with: sparseseg sparsify",
        )
    explicit = bool((array == UNLABELED).any())
    planes, names = stored if stored is not None else (find_planes(array), None)
    if names is None:
        known = {info.value: info.name for info in segments if info.value not in (0, UNLABELED, *strokes)}
        names = tuple(known.get(value, default_segment(value).name) for value in range(1, max(known, default=0) + 1))
    if explicit:
        array = np.where(background, 0, array).astype(np.uint8)
        labels = SparseLabels(array, geometry, tuple(planes), names)
    else:
        inside = [plane for plane in planes if plane.index < array.shape[plane.axis]]
        labels = sparse_labels_from_segments(array, geometry, inside, background=background, names=names)
    return labels if reference is None else on_grid(labels, reference, path.name, resample_to=resample_to)


def on_grid(labels: SparseLabels, reference: Geometry, name: str, *, resample_to: bool = False) -> SparseLabels:
    """The labels on the grid ``reference``: as they are, put in their place, or resampled if that is allowed."""
    if labels.geometry.matches(reference):
        return replace(labels, geometry=reference)
    offset = whole_voxel_offset(labels.geometry, reference)
    if offset is None and not resample_to:
        raise GeometryError(
            f"{name} does not lie on the volume's grid: {labels.geometry.difference(reference)}.",
            "Add --resample to bring it there, or draw on the volume itself.",
        )
    if offset is not None:
        array = place(labels.array, labels.geometry, reference, fill=UNLABELED)
        moved = [Plane(plane.axis, plane.index + offset[plane.axis]) for plane in labels.planes]
        planes = tuple(plane for plane in moved if 0 <= plane.index < reference.shape[plane.axis])
        for plane in planes:  # what Slicer cropped away from a finished slice was background
            array[plane.voxels] = np.where(array[plane.voxels] == UNLABELED, 0, array[plane.voxels])
        return SparseLabels(array, reference, planes, labels.names)
    return _resampled(labels, reference, name)


def _resampled(labels: SparseLabels, reference: Geometry, name: str) -> SparseLabels:
    """Scribbles by nearest neighbor; each plane goes to the slice of ``reference`` that its centre is nearest to."""
    scribbles = np.where(labels.scribbles, labels.array, UNLABELED).astype(np.uint8)
    array = resample(scribbles, labels.geometry, reference, order="nearest", fill=UNLABELED)
    turn = np.linalg.inv(reference.affine()[:3, :3]) @ labels.geometry.affine()[:3, :3]
    planes = []
    for plane in labels.planes:
        axis = int(np.abs(turn[:, plane.axis] / np.linalg.norm(turn[:, plane.axis])).argmax())
        centre = [(size - 1) / 2 for size in labels.array.shape]
        centre[plane.axis] = plane.index
        here = reference.physical_to_index(labels.geometry.index_to_physical(np.array([centre])))[0]
        target = Plane(axis, int(np.rint(here[axis])))
        if not 0 <= target.index < reference.shape[axis]:
            continue
        slab = labels.geometry.crop(_thick(plane, labels.array.shape))
        drawn = np.broadcast_to(np.expand_dims(np.take(labels.array, plane.index, plane.axis), plane.axis), slab.shape)
        there = resample(np.ascontiguousarray(drawn), slab, reference, order="nearest", fill=0)
        array[target.voxels] = there[target.voxels]
        planes.append(target)
    if labels.planes and not planes:
        raise GeometryError(f"{name} does not overlap the volume.", "Check that labels and volume belong together.")
    return SparseLabels(array, reference, tuple(sorted(set(planes))), labels.names)


def _thick(plane: Plane, shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    """A box around a plane, one slice to either side (it may reach beyond the volume)."""
    z, y, x = (
        slice(plane.index - 1, plane.index + 2) if axis == plane.axis else slice(0, size)
        for axis, size in enumerate(shape)
    )
    return z, y, x


def _stored_planes(path: Path) -> tuple[list[Plane], tuple[str, ...]] | None:
    beside = planes_path(path)
    if not beside.exists():
        return None
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        planes = [Plane("zyx".index(entry["axis"]), int(entry["index"])) for entry in content["planes"]]
        names = tuple(str(name) for name in content["names"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{beside} does not list annotated planes: {error}", "Delete it; the planes are then found in the labels."
        ) from error
    return planes, names
