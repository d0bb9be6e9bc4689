"""The sources of the prior: each annotated plane, and the scribbles.

A prior for a training slice must not use that slice's labels. So each source keeps its labels by itself, and a prior is
computed from the sources that are kept: mostly a minimum or a sum over them, so that leaving one out is free; a random
walk is computed anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.image.coarse import between_blocks, coarsening
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.types import Shape3, Spacing3

FAR = 1e4
"""Distance (mm) that stands for "this class is nowhere on that source"."""
MOST_DISTANCES = 16_000_000
"""Voxels of a volume up to which the distances to scribbles are those of each voxel; else they are of blocks."""


def distance_maps(labels: np.ndarray, classes: int, spacing: tuple[float, ...]) -> torch.Tensor:
    """Distance (mm) from every element to the nearest one of each class; ``(K, *labels.shape)``, ``FAR`` if absent."""
    maps = np.full((classes, *labels.shape), FAR, np.float32)
    for label in range(classes):
        inside = labels == label
        if inside.any():
            maps[label] = ndimage.distance_transform_edt(~inside, sampling=spacing)
    return torch.from_numpy(maps)


def other_distances(distances: torch.Tensor) -> torch.Tensor:
    """For each class, the distance to the nearest voxel of any other class; same shape ``(K, ...)``."""
    two = distances.topk(2, dim=0, largest=False)
    index = torch.arange(distances.shape[0])
    index = index.view(-1, *[1] * (distances.ndim - 1))
    return torch.where(two.indices[:1] == index, two.values[1:2], two.values[:1])


@dataclass(frozen=True)
class PlaneSource:
    """One annotated plane: its labels and the distances within it.

    ``labels`` is ``(P, Q)`` (int64, ``UNLABELED`` allowed), ``distances`` and ``signed`` are ``(K, P, Q)`` in mm;
    ``signed`` is positive inside a class.
    """

    axis: int
    index: int
    labels: torch.Tensor
    distances: torch.Tensor
    signed: torch.Tensor

    @classmethod
    def of(cls, labels: SparseLabels, axis: int, index: int, classes: int, spacing: Spacing3) -> PlaneSource:
        """The source for the plane ``index`` across ``axis`` of ``labels``."""
        plane = np.take(labels.array, index, axis)
        inplane = tuple(spacing[other] for other in range(3) if other != axis)
        distances = distance_maps(plane, classes, inplane)
        values = torch.from_numpy(plane.astype(np.int64))
        own = values[None] == torch.arange(classes)[:, None, None]
        signed = torch.where(own, other_distances(distances), -distances)
        return cls(axis, index, values, distances, signed)

    def distance(self, view: SliceView, least: float = 0.0) -> torch.Tensor:
        """Distance (mm) from each pixel of ``view`` to each class on this plane; broadcasts to ``(K, U, V)``.

        A plane parallel to the view counts as ``least`` mm away if it is nearer (see :func:`least_gap`).
        """
        across = (view.positions(self.axis) - self.index) * view.spacing[self.axis]
        if self.axis == view.axis:
            across = across.abs().clamp(min=least)
        return torch.hypot(view.see_plane(self.distances, self.axis), across[None])

    def coordinates(self) -> torch.Tensor:
        """Voxel indices (z, y, x) of the plane's labeled voxels, ``(N, 3)``."""
        flat = torch.nonzero(self.labels != UNLABELED)
        axes = [axis for axis in range(3) if axis != self.axis]
        points = torch.full((len(flat), 3), self.index, dtype=torch.int64)
        points[:, axes[0]], points[:, axes[1]] = flat[:, 0], flat[:, 1]
        return points

    def values(self) -> torch.Tensor:
        """Classes of :meth:`coordinates`, ``(N,)``."""
        return self.labels[self.labels != UNLABELED]


@dataclass(frozen=True)
class ScribbleSource:
    """All labeled voxels off the annotated planes, as one source.

    ``distances`` is ``(K, z, y, x)`` in mm, of blocks of ``factors`` voxels.
    """

    points: torch.Tensor
    classes: torch.Tensor
    distances: torch.Tensor
    factors: Shape3 = (1, 1, 1)

    @classmethod
    def of(cls, labels: SparseLabels, classes: int, spacing: Spacing3) -> ScribbleSource:
        """The source for the scribbles of ``labels``; there must be some."""
        points = labels.scribble_points
        drawn = labels.array[tuple(points.T)]
        factors = coarsening(labels.array.shape, spacing, MOST_DISTANCES)
        blocks = np.full(
            [-(-side // f) for side, f in zip(labels.array.shape, factors, strict=True)], UNLABELED, np.uint8
        )
        blocks[tuple((points // factors).T)] = drawn
        z, y, x = (step * factor for step, factor in zip(spacing, factors, strict=True))
        return cls(
            torch.from_numpy(points.astype(np.int64)),
            torch.from_numpy(drawn.astype(np.int64)),
            distance_maps(blocks, classes, (z, y, x)),
            factors,
        )

    def distance(self, view: SliceView, least: float = 0.0) -> torch.Tensor:
        """Distance (mm) from each pixel of ``view`` to each class among the scribbles, ``(K, U, V)``."""
        if self.factors == (1, 1, 1):
            return view.cut(self.distances)
        places = [range(side.start, side.stop) for side in view.box]
        places[view.axis] = range(view.index, view.index + 1)
        return between_blocks(self.distances, self.factors, places).squeeze(1 + view.axis)

    def coordinates(self) -> torch.Tensor:
        """Voxel indices (z, y, x) of the scribbles, ``(N, 3)``."""
        return self.points

    def values(self) -> torch.Tensor:
        """Classes of :meth:`coordinates`, ``(N,)``."""
        return self.classes


Source = PlaneSource | ScribbleSource


def sources_of(labels: SparseLabels, classes: int, spacing: Spacing3, known: Iterable[Source] = ()) -> list[Source]:
    """All sources of an annotation: its planes in their order, then the scribbles if there are any.

    ``known`` are sources of another annotation with the same classes and grid: planes that have not changed since are
    taken from these.
    """
    before = {(source.axis, source.index): source for source in known if isinstance(source, PlaneSource)}
    sources: list[Source] = []
    for plane in labels.planes:
        source = before.get((plane.axis, plane.index))
        if source is None or not np.array_equal(source.labels, np.take(labels.array, plane.index, plane.axis)):
            source = PlaneSource.of(labels, plane.axis, plane.index, classes, spacing)
        sources.append(source)
    if len(labels.scribble_points):
        sources.append(ScribbleSource.of(labels, classes, spacing))
    return sources


def least_gap(sources: list[Source], spacing: Spacing3) -> float:
    """The least distance (mm) to the nearest label in training, where all annotated planes are parallel.

    It learns from each plane with that plane left out, so from a distance of at least one gap between planes. A slice
    that is nearer to a plane would look like nothing it has learned. Where planes cross there is no such limit: 0.
    """
    planes = [source for source in sources if isinstance(source, PlaneSource)]
    if len({plane.axis for plane in planes}) != 1 or len(planes) != len(sources):
        return 0.0
    places = sorted({plane.index for plane in planes})
    gaps = [after - before for before, after in itertools.pairwise(places)]
    return min(gaps, default=0) * spacing[planes[0].axis]


def object_radius(sources: list[Source], spacing: Spacing3) -> float:
    """The size (mm) of the annotated objects: the mean radius of their areas on the planes."""
    areas = []
    for source in sources:
        if isinstance(source, PlaneSource):
            pixels = int(((source.labels > 0) & (source.labels != UNLABELED)).sum())
            first, second = (spacing[axis] for axis in range(3) if axis != source.axis)
            areas.append(pixels * first * second)
    areas = [area for area in areas if area > 0]
    return float(np.sqrt(np.mean(areas) / np.pi)) if areas else 8 * min(spacing)
