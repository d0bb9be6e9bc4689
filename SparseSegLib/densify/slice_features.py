"""The input of the 2D networks: a slice, its neighbors, and the annotation prior, as channels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.densify.problem import Problem
from SparseSegLib.image import Box
from SparseSegLib.image.region_image import RegionImage
from SparseSegLib.prior import AnnotationPrior, PlaneSource, ScribbleSource, SliceView

HALO = 16
"""Voxels around a part of a slice that count in what a network finds in it."""
POOLED = 8
"""Voxels that the networks pool at most: parts begin at multiples, so that they pool the same as in whole slices."""


def slab(image: RegionImage, view: SliceView, neighbors: int) -> torch.Tensor:
    """A slice of an image with its neighbors on both sides, ``(C · (2·neighbors + 1), U, V)``.

    Beyond the border the last slice is repeated.
    """
    last = view.shape[view.axis] - 1
    indices = [min(max(view.index + offset, 0), last) for offset in range(-neighbors, neighbors + 1)]
    box = [*view.box]
    deep = box[view.axis]
    box[view.axis] = slice(min(deep.start, indices[0]), max(deep.stop, indices[-1] + 1))
    near = image.part((box[0], box[1], box[2]))
    chosen = torch.tensor(indices) - box[view.axis].start
    return near.index_select(1 + view.axis, chosen).movedim(1 + view.axis, 1).flatten(0, 1)


class SliceFeatures:
    """Channels of any slice of a problem's working grid.

    Parameters
    ----------
    problem : Problem
    parts : of the annotation prior (see ``SparseSegLib.prior.PRIOR_PARTS``)
    neighbors : slices on either side whose gray values come in as channels

    Attributes
    ----------
    prior : AnnotationPrior
    in_parts : whether the region is so large that slices are seen part by part
    gray_channels : number of channels with gray values; they come first
    axes : orientations that were annotated
    """

    def __init__(self, problem: Problem, parts: tuple[str, ...], neighbors: int) -> None:
        self.image = problem.image
        self.prior: AnnotationPrior = problem.prior(parts)
        self.neighbors = neighbors
        self.in_parts = problem.in_parts
        self.gray_channels = len(problem.image) * (2 * neighbors + 1)
        self.axes = sorted({slice_axis(source) for source in self.prior.sources})

    @property
    def channel_classes(self) -> list[int]:
        """The class of each channel; 0 for those of all classes."""
        return [0] * self.gray_channels + self.prior.channel_classes

    def view(self, axis: int, index: int, part: Box | None = None) -> SliceView:
        """The slice ``index`` across ``axis``, or what lies of it in a part of the region."""
        return SliceView(axis, index, self.prior.shape, self.prior.spacing, part)

    def window(self, view: SliceView, center: tuple[float, float], side: int) -> SliceView:
        """A square part of a slice, at most ``side`` pixels wide, around about that ``center`` (pixels)."""
        low = max(0, view.index - self.neighbors)
        sides = [slice(low, min(view.shape[view.axis], view.index + self.neighbors + 1))] * 3
        for axis, middle in zip(view.axes, center, strict=True):
            start = min(max(0, round((middle - side / 2) / (side // 2)) * (side // 2)), max(0, view.shape[axis] - side))
            sides[axis] = slice(start, min(view.shape[axis], start + side))
        return replace(view, part=(sides[0], sides[1], sides[2]))

    def part_around(self, box: Box) -> Box | None:
        """What to look at to predict ``box``: all of the slices (None), or the box and some room around it."""
        if not self.in_parts:
            return None
        z, y, x = (
            slice(max(0, (side.start - HALO) // POOLED * POOLED), min(size, side.stop + HALO))
            for side, size in zip(box, self.prior.shape, strict=True)
        )
        return z, y, x

    def known(self, hidden: Collection[Plane]) -> tuple[int, ...]:
        """The numbers of the prior's sources without the planes ``hidden``."""
        return self.prior.without(self.numbers(hidden))

    def numbers(self, planes: Collection[Plane]) -> set[int]:
        """The numbers of the prior's sources that are these planes."""
        return {
            number
            for number, source in enumerate(self.prior.sources)
            if isinstance(source, PlaneSource) and Plane(source.axis, source.index) in planes
        }

    def of(self, view: SliceView, keep: tuple[int, ...]) -> torch.Tensor:
        """Channels ``(C, U, V)`` of a slice: gray values first, then the prior from the sources ``keep``."""
        return torch.cat([slab(self.image, view, self.neighbors), self.prior.channels(view, keep)])


def slice_axis(source: PlaneSource | ScribbleSource) -> int:
    """The slicing axis of a source: across a plane, and for scribbles that with the fewest slices."""
    if isinstance(source, PlaneSource):
        return source.axis
    return min(range(3), key=lambda axis: len(source.points[:, axis].unique()))
