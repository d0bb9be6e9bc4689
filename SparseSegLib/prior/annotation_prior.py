"""The annotation prior, made of parts that can be switched off."""

from __future__ import annotations

import itertools

import torch

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.image.region_image import RegionImage
from SparseSegLib.prior.appearance import AppearancePrior
from SparseSegLib.prior.distances import DistancePrior
from SparseSegLib.prior.interpolation import InterpolationPrior
from SparseSegLib.prior.left_out import left_out_iou
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import PlaneSource, Source, least_gap, object_radius, sources_of
from SparseSegLib.prior.types import Shape3, Spacing3
from SparseSegLib.prior.walk import WalkPrior

PRIOR_PARTS = ("distance", "interpolation", "appearance", "walk", "coordinates")
"""Names of the parts that :class:`AnnotationPrior` can be made of."""

USUAL_PARTS = ("distance", "interpolation", "appearance", "walk")

FOUND = 0.3  # IoU above which slices that are left out are found at all


class AnnotationPrior:
    """Prior channels of any slice from the annotation, with any of its sources left out.

    Parameters
    ----------
    image : RegionImage
    labels : SparseLabels
        The annotation on the same grid.
    classes : int
        Number of classes, background included.
    spacing : (z, y, x) in mm
    parts : names out of ``PRIOR_PARTS``
        Which kinds of channels to compute.
    before : AnnotationPrior, optional
        Of the same image, classes and parts, with another annotation: what has not changed since is taken over.
    walk_misleads : bool, optional
        Whether gray values alone find slices better than the walk does, whose channels are 0 then; by default decided
        from this annotation.

    Attributes
    ----------
    walk_misleads : the same, for the priors of annotations after this one
    """

    def __init__(
        self,
        image: RegionImage,
        labels: SparseLabels,
        classes: int,
        spacing: Spacing3,
        parts: tuple[str, ...],
        before: AnnotationPrior | None = None,
        walk_misleads: bool | None = None,
    ) -> None:
        self.shape: Shape3 = image.sides
        self.spacing = spacing
        self.parts = parts
        self.classes = classes
        self.sources: list[Source] = sources_of(labels, classes, spacing, before.sources if before else ())
        fine, coarse = 3 * min(spacing), max(object_radius(self.sources, spacing), 4 * min(spacing))
        least = least_gap(self.sources, spacing)
        self._parts: dict[str, DistancePrior | InterpolationPrior | AppearancePrior | WalkPrior] = {}
        self._appearance: AppearancePrior | None = None
        self._walk: WalkPrior | None = None
        if "distance" in parts:
            self._parts["distance"] = DistancePrior(self.sources, classes, fine, coarse, least)
        if "interpolation" in parts:
            self._parts["interpolation"] = InterpolationPrior(self.sources, classes, fine, coarse, least)
        if "appearance" in parts:
            self._parts["appearance"] = self._appearance = AppearancePrior(
                image, self.sources, classes, spacing, coarse, before._appearance if before else None
            )
        if "walk" in parts:
            self._parts["walk"] = self._walk = WalkPrior(
                image, self.sources, classes, spacing, before=before._walk if before else None
            )
        self.walk_misleads = self._does_walk_mislead() if walk_misleads is None else walk_misleads
        self._silent = {"walk"} if self.walk_misleads else set()

    @property
    def count(self) -> int:
        """Number of channels."""
        return len(self.channel_classes)

    @property
    def channel_classes(self) -> list[int]:
        """The class of each channel; 0 for those of all classes."""
        own = itertools.chain.from_iterable(part.channel_classes for part in self._parts.values())
        return [*own, *([0] * 3 if "coordinates" in self.parts else [])]

    @property
    def spans(self) -> dict[str, slice]:
        """The channels of each part, coordinates left out."""
        counts = [len(part.channel_classes) for part in self._parts.values()]
        ends = itertools.accumulate(counts)
        return {name: slice(end - count, end) for name, count, end in zip(self._parts, counts, ends, strict=True)}

    @property
    def everything(self) -> tuple[int, ...]:
        """The numbers of all sources, which a prediction uses."""
        return tuple(range(len(self.sources)))

    def without(self, numbers: set[int]) -> tuple[int, ...]:
        """The numbers of the sources that are independent of the sources ``numbers``.

        Sources on the same plane (two annotated slices that fall into one slice of a coarser grid) go together.
        """
        gone = {self._place(number) for number in numbers}
        return tuple(number for number in self.everything if self._place(number) not in gone)

    def channels(self, view: SliceView, keep: tuple[int, ...]) -> torch.Tensor:
        """Prior channels ``(count, U, V)`` for a slice, computed from the sources ``keep`` alone; within ±1."""
        channels: list[torch.Tensor] = []
        for name, part in self._parts.items():
            silent = name in self._silent
            channels += [torch.zeros(1, 1)] * len(part.channel_classes) if silent else part.channels(view, keep)
        if "coordinates" in self.parts:
            channels += [view.positions(axis) / self.shape[axis] * 2 - 1 for axis in range(3)]
        if not channels:
            return torch.zeros(0, *view.size)
        return torch.stack([channel.expand(view.size) for channel in channels])

    def reconsider(self) -> None:
        """Decide anew, from this annotation, whether the walk misleads: for the priors that come after this one."""
        self.walk_misleads = self._does_walk_mislead()

    def _does_walk_mislead(self) -> bool:
        """Whether gray values alone find slices that are left out better than the walk does.

        So it is with fine structures, which leak into each other on the coarse grid. Its channels are 0 then. This one
        bit is decided from all planes: slices that are left out or held out included.
        """
        if self._walk is None or self._appearance is None:
            return False
        grid = (self.sources, self.without, self.classes, self.shape, self.spacing)
        appearance = left_out_iou(self._appearance, 0.5, *grid)
        return appearance > FOUND and appearance > left_out_iou(self._walk, 0.0, *grid)

    def _place(self, number: int) -> tuple[int, int]:
        source = self.sources[number]
        return (source.axis, source.index) if isinstance(source, PlaneSource) else (-1, number)
