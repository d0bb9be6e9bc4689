"""The input of the generalist: of each structure, what every image channel shows, and what the annotation says.

Image channels come one by one, so that any number of them can be pooled: a slice with its neighbors, the same at a
coarse scale, the nearest annotated slices on either side, and how likely the structure is for what is seen. Shared are
the annotation prior, the labels of these nearest slices, and a discriminant of all channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.slice_features import SliceFeatures, slab
from SparseSegLib.image.coarse import between_blocks
from SparseSegLib.networks.generalist import Layout
from SparseSegLib.prior import USUAL_PARTS, PlaneSource, SliceView
from SparseSegLib.prior.likelihood import FEATURES, LikelihoodPrior
from SparseSegLib.prior.sources import object_radius

NEIGHBORS = 2  # slices on either side, fine and coarse
COARSE = 4  # voxels, of the finest spacing, of a coarse one
LOCAL = 3  # appearance channels of the annotation prior, of each image channel
GRAY = 2 * (2 * NEIGHBORS + 1) + 2
"""Channels with gray values, which come first: slice and neighbors, fine and coarse, and the nearest annotated ones."""
SHARED = 2 + 2 + 3 * 2 + 2 + 2 + 4 + 1

HINTS = (10, 12, 13, SHARED - 1)
"""Interpolated outlines, two random walks, and the discriminant, among the shared channels."""

LAYOUT = Layout(gray=GRAY, image=GRAY + FEATURES + LOCAL, shared=SHARED, hints=HINTS)
"""How the channels of a structure are ordered: those of each image channel, and shared ones."""


class GeneralistFeatures(SliceFeatures):
    """Channels of any slice of a problem's working grid, which must be in memory.

    Parameters
    ----------
    problem : Problem
    before : of an annotation before, of the same image
    """

    def __init__(self, problem: Problem, before: GeneralistFeatures | None = None) -> None:
        super().__init__(problem, USUAL_PARTS, NEIGHBORS)
        self.problem = problem
        known = before.likelihood if before is not None and before.image is problem.image else None
        self.likelihood: LikelihoodPrior = LikelihoodPrior(
            problem.image, self.prior.sources, problem.classes, self.prior.spacing, known
        )
        self.gray_channels = 0  # they do not come first: those that vary gray values at random leave them as they are
        self.classes = problem.classes
        finest = min(self.prior.spacing)
        z, y, x = (max(1, round(COARSE * finest / step)) for step in self.prior.spacing)
        self._factors = z, y, x
        self._coarse = problem.image.coarse(self._factors).float()
        appearance = self.prior.spans["appearance"]
        shared = [*range(appearance.start), *range(appearance.stop, self.prior.count)]
        classes = self.prior.channel_classes
        self._own = torch.tensor(
            [[one for one in shared if classes[one] in (0, label)] for label in range(1, self.classes)]
        )
        self._size = max(object_radius(self.prior.sources, self.prior.spacing), COARSE * finest)

    @property
    def channel_classes(self) -> list[int]:
        """The class of each channel: structure by structure."""
        return [label for label in range(1, self.classes) for _ in range(LAYOUT.channels(len(self.image)))]

    def of(self, view: SliceView, keep: tuple[int, ...]) -> torch.Tensor:
        """Channels ``((K - 1) · L, U, V)`` of a slice, of each structure as ``LAYOUT`` orders them."""
        structures, channels = self.classes - 1, len(self.image)
        ratios, discriminant = self.likelihood.maps(view, keep)
        prior = self.prior.channels(view, keep)
        spans = self.prior.spans
        local = prior[spans["appearance"]].unflatten(0, (channels, LOCAL, structures)).permute(2, 0, 1, 3, 4)
        nearest, labels = self._nearest(view, keep)
        image = torch.cat([self._fine_and_coarse(view), nearest], 1).expand(structures, -1, -1, -1, -1)
        image = torch.cat([image, ratios, 2 * local - 1], 2).flatten(1, 2)
        return torch.cat([image, prior[self._own], labels, discriminant[:, None]], 1).flatten(0, 1)

    def _fine_and_coarse(self, view: SliceView) -> torch.Tensor:
        """The image alone: a slice with its neighbors at both scales, ``(C, GRAY - 2, U, V)``."""
        count = len(self.image)
        fine = slab(self.image, view, self.neighbors).unflatten(0, (count, -1))
        step, last = self._factors[view.axis], view.shape[view.axis] - 1
        offsets = range(-NEIGHBORS * step, NEIGHBORS * step + 1, step)
        across = [min(max(view.index + offset, 0), last) for offset in offsets]
        places: list[Sequence[int]] = [range(side.start, side.stop) for side in view.box]
        values = self._coarse
        if step == 1:
            values, across = values.index_select(1 + view.axis, torch.tensor(across)), [*range(len(across))]
        places[view.axis] = across
        coarse = between_blocks(values, self._factors, places).movedim(1 + view.axis, 1)
        return torch.cat([fine, coarse], 1)

    def _nearest(self, view: SliceView, keep: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest annotated slices on either side, parallel to this one.

        Their gray values ``(C, 2, U, V)``; and for each structure their labels (1 inside, -1 outside, 0 unknown) and
        how near they are ``(K - 1, 4, U, V)``. All are 0 where there is none.
        """
        gray = torch.zeros(len(self.image), 2, *view.size)
        said = torch.zeros(self.classes - 1, 4, *view.size)
        planes = [
            source
            for number in keep
            if isinstance(source := self.prior.sources[number], PlaneSource) and source.axis == view.axis
        ]
        below = max((one for one in planes if one.index <= view.index), key=lambda one: one.index, default=None)
        above = min((one for one in planes if one.index >= view.index), key=lambda one: one.index, default=None)
        for side, nearest in enumerate((below, above)):
            if nearest is None:
                continue
            there = SliceView(view.axis, nearest.index, view.shape, view.spacing)
            gray[:, side] = slab(self.image, there, 0)[(slice(None), *view.window)]
            labels = nearest.labels[view.window]
            for label in range(1, self.classes):
                said[label - 1, side] = torch.where(labels == label, 1.0, -1.0) * (labels != UNLABELED)
            gap = abs(nearest.index - view.index) * view.spacing[view.axis]
            said[:, 2 + side] = float(torch.exp(torch.tensor(-gap / self._size)))
        return gray, said
