"""Scores of files: which belong together, and how well one agrees with the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from SparseSegLib.annotation import read_sparse_labels
from SparseSegLib.errors import FileError, GeometryError
from SparseSegLib.evaluation.cohort import plain_name
from SparseSegLib.evaluation.metrics import LabelScores, evaluate
from SparseSegLib.geometry import place, whole_voxel_offset
from SparseSegLib.io import SegmentInfo, default_segment, read_labels
from SparseSegLib.io.folders import LABEL_ENDINGS, files_by_name


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
    segmentation: Path, reference: Path, outside: Path | None = None, *, series: Sequence[str] = ("", "")
) -> tuple[LabelScores, ...]:
    """Compare two labelmaps label by label; with ``outside``, the overlap off the voxels labeled in that file.

    Where both files name their segments and share a name, segments of one name are compared, whatever their values;
    else those of one value. Labels are called as in the reference, or as in the segmentation where that has no names.
    ``series`` are the UIDs of the DICOM series to read of each.

    Raises
    ------
    GeometryError
        If their voxels do not lie on each other.
    """
    truth, geometry, named = read_labels(reference, series_uid=series[1])
    found, grid, also_named = read_labels(segmentation, series_uid=series[0])
    if not grid.matches(geometry):
        if whole_voxel_offset(grid, geometry) is None:
            raise GeometryError(
                f"The two do not lie on one grid: {grid.difference(geometry)}.", "Resample one to the other first."
            )
        found = place(found, grid, geometry)
    values = matching_values(also_named, named)
    found, also_named = _renumbered(found, values), [replace(one, value=values[one.value]) for one in also_named]
    mask = None if outside is None else ~read_sparse_labels(outside, geometry).labeled
    return evaluate(found, truth, geometry, mask=mask, names=_names([*also_named, *named]))


def matching_values(segments: Sequence[SegmentInfo], reference: Sequence[SegmentInfo]) -> dict[int, int]:
    """The value that each segment needs so that one that the reference names too has the reference's value.

    Without a common name all keep theirs. Otherwise a segment that the reference does not have keeps its value if that
    is free, and gets one that nothing has if it is not. Case and outer spaces of names do not matter.
    """
    wanted = {plain_name(one.name): one.value for one in reference if _is_named(one)}
    taken = {one.value for one in reference if _is_named(one)}
    values = {one.value: one.value for one in segments}
    same = {one.value: wanted.pop(plain_name(one.name)) for one in segments if plain_name(one.name) in wanted}
    if not same:
        return values
    unused = count(1 + max(*values, *(one.value for one in reference)))
    for one in segments:
        if one.value not in same:
            free = one.value not in (taken if _is_named(one) else same.values())
            same[one.value] = one.value if free else next(unused)
    return same


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
    """What the segments are called: the last name that somebody gave counts."""
    names: dict[int, str] = {}
    for one in segments:
        if _is_named(one):
            names[one.value] = one.name
        names.setdefault(one.value, one.name)
    return names
