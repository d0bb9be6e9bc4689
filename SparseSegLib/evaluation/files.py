"""Scores of files: which belong together, and how well one agrees with the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from pathlib import Path

import numpy as np
from scipy import ndimage

from SparseSegLib.annotation import read_sparse_labels
from SparseSegLib.errors import AnnotationError, FileError, GeometryError
from SparseSegLib.evaluation.cohort import plain_name
from SparseSegLib.evaluation.metrics import LabelScores, evaluate
from SparseSegLib.image import Geometry, place, whole_voxel_offset
from SparseSegLib.io import SegmentInfo, default_segment, read_labels
from SparseSegLib.io.folders import LABEL_ENDINGS, files_by_name

NEAR = 0.01  # of a voxel: what still lies within one
MOST_VOXELS = 2**28


@dataclass(frozen=True)
class Pairs:
    """Two folders of labels, file by file.

    Attributes
    ----------
    both : (name, segmentation, reference) of each case, sorted by name
    missing : names of the references for which there is no segmentation
    more : names of the segmentations for which there is no reference
    """

    both: tuple[tuple[str, Path, Path], ...]
    missing: tuple[str, ...]
    more: tuple[str, ...]


def pair_up(segmentations: Path, references: Path) -> Pairs:
    """Files of one name belong together, whatever their format.

    Raises
    ------
    FileError
        If no file has a partner, or two files of a folder have one name.
    """
    ours, theirs = labels_in(segmentations), labels_in(references)
    both = tuple((name, ours[name], theirs[name]) for name in sorted(set(ours) & set(theirs)))
    if not both:
        raise FileError(
            f"No file in {segmentations} has the name of a file in {references}.",
            "A segmentation and its reference have the same name; the format does not matter.",
        )
    return Pairs(both, tuple(sorted(set(theirs) - set(ours))), tuple(sorted(set(ours) - set(theirs))))


def labels_in(folder: Path) -> dict[str, Path]:
    """The label files of a folder by their names without suffixes; FileError if it is none, or two have one name."""
    return files_by_name(folder, LABEL_ENDINGS)


def evaluate_files(
    segmentation: Path,
    reference: Path,
    outside: Path | None = None,
    *,
    resample: bool = False,
    series: Sequence[str] = ("", ""),
) -> tuple[LabelScores, ...]:
    """Compare two labelmaps label by label; with ``outside``, the overlap off the voxels labeled in that file.

    Where both files name their segments and share a name, segments of one name are compared, whatever their values;
    else those of one value. Labels are called as in the reference, or as in the segmentation where that has no names.
    What lies beyond the reference's grid counts, too.
    ``series`` are the UIDs of the DICOM series to read of each.

    Raises
    ------
    GeometryError
        If their voxels do not lie on each other, and ``resample`` (by nearest neighbor) is false; or if they are far
        apart.
    AnnotationError
        If it is ambiguous which segments belong together.
    """
    try:
        truth, geometry, named = read_labels(reference, series_uid=series[1])
    except GeometryError:  # outlines, which lie on the grid of what they are compared with
        _, geometry, _ = read_labels(segmentation, series_uid=series[0])
        truth, geometry, named = read_labels(reference, geometry, series_uid=series[1])
    found, grid, also_named = read_labels(segmentation, geometry, series_uid=series[0])
    if not resample and whole_voxel_offset(grid, geometry) is None:
        raise GeometryError(
            f"The two do not lie on one grid: {geometry.difference(grid)}.",
            "Add --resample to bring the segmentation to the reference's grid, by nearest neighbor.",
        )
    target = _around(geometry, found, grid)
    found, truth = place(found, grid, target), place(truth, geometry, target)
    values = matching_values(also_named, named)
    found, also_named = _renumbered(found, values), [replace(one, value=values[one.value]) for one in also_named]
    mask = None
    if outside is not None:
        mask = ~place(read_sparse_labels(outside, geometry).labeled, geometry, target)
    return evaluate(found, truth, target, mask=mask, names=_names([*also_named, *named]))


def _around(geometry: Geometry, found: np.ndarray, grid: Geometry) -> Geometry:
    """The reference's grid, extended over everything that was found."""
    box = ndimage.find_objects((found != 0).astype(np.uint8))
    if grid.matches(geometry) or not box:
        return geometry
    rim = [(side.start - 0.5, side.stop - 0.5) for side in box[0]]
    there = geometry.physical_to_index(grid.index_to_physical(np.array(list(product(*rim)))))
    low, high = np.ceil(there.min(0) - NEAR).astype(int), np.floor(there.max(0) + NEAR).astype(int)
    shape = np.array(geometry.shape)
    first, stop = np.minimum(low, 0), np.maximum(high + 1, shape)
    if (first == 0).all() and (stop == shape).all():
        return geometry
    if np.prod(stop - first) > max(64 * np.prod(shape), MOST_VOXELS):
        raise GeometryError(
            "What was found is far away from the reference, or far larger.",
            "Check that the two files belong to the same volume.",
        )
    z, y, x = (slice(int(start), int(end)) for start, end in zip(first, stop, strict=True))
    return geometry.crop((z, y, x))


def matching_values(segments: Sequence[SegmentInfo], reference: Sequence[SegmentInfo]) -> dict[int, int]:
    """The value that each segment needs so that one that the reference names too has the reference's value.

    Without a common name all keep theirs. Otherwise a segment that the reference does not have keeps its value if that
    is free, and gets one that nothing has if it is not. Case and outer spaces of names do not matter. Of several with
    one name in both, those of one value belong together.

    Raises
    ------
    AnnotationError
        If several have one name, and their values do not distinguish them either.
    """
    wanted, ours = _by_name(reference), _by_name(segments)
    taken = {one.value for one in reference if _is_named(one)}
    same: dict[int, int] = {}
    for name in ours.keys() & wanted.keys():
        same |= _pairs(ours[name], wanted[name])
    if not same:
        return {one.value: one.value for one in segments}
    unused = count(1 + max(*(one.value for one in segments), *(one.value for one in reference)))
    for one in segments:
        if one.value not in same:
            free = one.value not in (taken if _is_named(one) else same.values())
            same[one.value] = one.value if free else next(unused)
    return same


def _by_name(segments: Sequence[SegmentInfo]) -> dict[str, list[SegmentInfo]]:
    """The segments that somebody named, by what their names have in common."""
    found: dict[str, list[SegmentInfo]] = {}
    for one in segments:
        if _is_named(one):
            found.setdefault(plain_name(one.name), []).append(one)
    return found


def _pairs(ours: list[SegmentInfo], theirs: list[SegmentInfo]) -> dict[int, int]:
    """A map from our values to theirs; all of them have one name."""
    if len(ours) == len(theirs) == 1:
        return {ours[0].value: theirs[0].value}
    values = {one.value for one in ours}
    if values != {one.value for one in theirs}:
        many, where = (ours, "segmentation") if len(ours) > 1 else (theirs, "reference")
        numbers = ", ".join(str(one.value) for one in many)
        raise AnnotationError(
            f"{len(many)} segments of the {where} are called {many[0].name} (values {numbers}), and it cannot be told "
            "which is which in the other file.",
            "Give them different names, or the same values in both files.",
        )
    return {value: value for value in values}


def _renumbered(labels: np.ndarray, values: dict[int, int]) -> np.ndarray:
    """Labels with other values; those that stay are not copied."""
    moved = {old: new for old, new in values.items() if old != new}
    if not moved:
        return labels
    result = labels.astype(np.int64)
    for old, new in moved.items():
        result[labels == old] = new
    return result


def _is_named(segment: SegmentInfo) -> bool:
    """Whether somebody gave it a name."""
    return segment.name != default_segment(segment.value).name


def _names(segments: list[SegmentInfo]) -> dict[int, str]:
    """The segments' names by value; the last one given counts."""
    names: dict[int, str] = {}
    for one in segments:
        if _is_named(one):
            names[one.value] = one.name
        names.setdefault(one.value, one.name)
    return names
