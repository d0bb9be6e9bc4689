"""Runs of adjacent annotated slices: where an object is cut off flat on both sides."""

from __future__ import annotations

import numpy as np

SAME_SHARE = 0.4  # of a run's columns that begin and end with it; in grown shapes they end one by one
FLATNESS = 3  # a run is at least so many times wider than long


def one_slice_a_run(drawn: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, list[list[range]]]:
    """Keep one slice of each run.

    Parameters
    ----------
    drawn : (Z, Y, X) bool
        The segments' bounding box.
    shape : voxels of the whole volume along (z, y, x); a run all through it is no annotation but the field of view

    Returns
    -------
    np.ndarray
        ``drawn`` without all but the middle slice of each run.
    list
        For each axis and each slice that is left, the slices of ``drawn`` that it stands for.
    """
    slices: list[list[range]] = []
    middles = []
    for axis in range(3):
        runs = [run for run in _runs(drawn, axis) if len(run) < shape[axis]]
        within = {index for run in runs for index in run}
        slices.append(sorted([*runs, *(range(i, i + 1) for i in range(drawn.shape[axis]) if i not in within)], key=min))
        middles.append([run[len(run) // 2] for run in slices[-1]])
    return drawn[np.ix_(*middles)], slices


def _runs(drawn: np.ndarray, axis: int) -> list[range]:
    """The runs of at least two slices across ``axis``, apart from each other."""
    planes = np.ascontiguousarray(np.moveaxis(drawn, axis, 0))
    areas = planes.sum((1, 2))
    found: list[range] = []
    for same, start, stop in sorted(_columns(planes), reverse=True):
        run = range(start, stop)
        apart = all(run.stop <= other.start or other.stop <= run.start for other in found)
        enough = same >= SAME_SHARE * areas[start:stop].max()  # a quick check before the footprint is made
        if apart and enough and _is_run(np.asarray(planes[start:stop].any(axis=0)), len(run), same):
            found.append(run)
    return found


def _columns(planes: np.ndarray) -> list[tuple[int, int, int]]:
    """Counts of columns that begin at ``start`` and end before ``stop``: (count, start, stop), but single voxels."""
    begin = np.zeros(planes.shape[1:], np.intp)
    found = []
    for index in range(1, len(planes) + 1):
        before = planes[index - 1]
        now = planes[index] if index < len(planes) else np.zeros_like(before)
        counts = np.bincount(begin[before & ~now], minlength=index)
        found += [(int(counts[start]), int(start), index) for start in np.flatnonzero(counts[: index - 1])]
        begin[now & ~before] = index
    return found


def _is_run(footprint: np.ndarray, length: int, same: int) -> bool:
    """Whether enough columns of a slab begin and end together, and whether it is flat."""
    rows, columns = footprint.any(1).sum(), footprint.any(0).sum()
    return bool(same >= SAME_SHARE * footprint.sum() and FLATNESS * length <= min(rows, columns))
