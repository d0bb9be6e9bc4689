"""Overlap and distance of two labelmaps, label by label."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from SparseSegLib.annotation import as_labelmap
from SparseSegLib.errors import GeometryError
from SparseSegLib.evaluation.surfaces import surface_distances
from SparseSegLib.image import Geometry
from SparseSegLib.image.given import Image


@dataclass(frozen=True)
class LabelScores:
    """Scores of one label; distances in mm, volumes in ml, NaN where something is empty.

    Dice and IoU are 1 where both are empty.
    """

    label: int
    name: str
    dice: float
    iou: float
    hausdorff: float
    hausdorff95: float
    average_surface_distance: float
    volume: float
    reference_volume: float

    @property
    def relative_volume_difference(self) -> float:
        """Volume difference in percent of the reference; NaN if that is empty."""
        return 100 * (self.volume / self.reference_volume - 1) if self.reference_volume else math.nan


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient 2·|A ∩ B| / (|A| + |B|) of two masks; 1 if both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union |A ∩ B| / |A ∪ B| of two masks; 1 if both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def evaluate(
    segmentation: Image,
    reference: Image,
    geometry: Geometry | None = None,
    *,
    labels: Iterable[int] | None = None,
    mask: np.ndarray | None = None,
    names: Mapping[int, str] | None = None,
) -> tuple[LabelScores, ...]:
    """Compare two labelmaps on one grid, label by label.

    Parameters
    ----------
    segmentation, reference : arrays (Z, Y, X), or without ``geometry`` any images
        As in :func:`SparseSegLib.annotation.as_labelmap`.
    geometry : the grid of both arrays
    labels : which labels, in this order; without it every label but 0 that the reference or the other has
    mask : (Z, Y, X) bool, optional
        Where to measure the overlap (Dice and IoU), for example the voxels off the annotated slices. Distances and
        volumes are of the whole objects all the same: an object with slices cut out has other surfaces.
    names : what the labels are called

    Raises
    ------
    GeometryError
        If the grids or shapes differ.
    """
    if geometry is None:
        segmentation, found = as_labelmap(segmentation, reference)
        reference, geometry = as_labelmap(reference)
        if not geometry.matches(found):
            raise GeometryError(f"The labelmaps lie on different grids: {geometry.difference(found)}.")
    if not segmentation.shape == reference.shape == geometry.shape:
        raise GeometryError(f"Shapes {segmentation.shape} and {reference.shape} cannot be compared.")
    if mask is not None and mask.shape != reference.shape:
        raise GeometryError(f"A mask of shape {mask.shape} does not fit labels of shape {reference.shape}.")
    there = np.ones(reference.shape, bool) if mask is None else mask
    if labels is None:
        labels = sorted({int(value) for value in np.union1d(np.unique(segmentation), np.unique(reference))} - {0})
    millilitres = float(np.prod(geometry.spacing)) / 1000
    scores = []
    for label in labels:
        ours, theirs = segmentation == label, reference == label
        distances = surface_distances(ours, theirs, geometry.spacing)
        scores.append(
            LabelScores(
                label,
                (names or {}).get(label, str(label)),
                dice(ours & there, theirs & there),
                iou(ours & there, theirs & there),
                distances.hausdorff,
                distances.hausdorff95,
                distances.average,
                int(ours.sum()) * millilitres,
                int(theirs.sum()) * millilitres,
            )
        )
    return tuple(scores)
