"""The input of the 2D networks: a slice, its neighbors, and the annotation prior, as channels."""

from __future__ import annotations

from collections.abc import Collection

import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.densify.problem import Problem
from SparseSegLib.prior import AnnotationPrior, PlaneSource, ScribbleSource, SliceView


def slab(image: torch.Tensor, view: SliceView, neighbors: int) -> torch.Tensor:
    """A slice of ``(C, Z, Y, X)`` with its neighbors on both sides, ``(C · (2·neighbors + 1), U, V)``.

    Beyond the border the last slice is repeated.
    """
    last = view.shape[view.axis] - 1
    indices = [min(max(view.index + offset, 0), last) for offset in range(-neighbors, neighbors + 1)]
    return image.index_select(1 + view.axis, torch.tensor(indices)).movedim(1 + view.axis, 1).flatten(0, 1)


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
    gray_channels : number of channels with gray values; they come first
    axes : orientations that were annotated
    """

    def __init__(self, problem: Problem, parts: tuple[str, ...], neighbors: int) -> None:
        self.image = problem.image
        self.prior: AnnotationPrior = problem.prior(parts)
        self.neighbors = neighbors
        self.gray_channels = len(problem.image) * (2 * neighbors + 1)
        self.axes = sorted({slice_axis(source) for source in self.prior.sources})

    @property
    def channel_classes(self) -> list[int]:
        """The class of each channel; 0 for those of all classes."""
        return [0] * self.gray_channels + self.prior.channel_classes

    def view(self, axis: int, index: int) -> SliceView:
        """The slice ``index`` across ``axis``."""
        return SliceView(axis, index, self.prior.shape, self.prior.spacing)

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
