"""The simplest prior: distances to the nearest labeled voxels."""

from __future__ import annotations

import torch

from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import FAR, Source, other_distances


class DistancePrior:
    """Channels from the distances to the labeled voxels of each class.

    For every class but background: (distance to the nearest voxel of another class) − (distance to the nearest of this
    one), squashed at a fine and at a coarse scale; and how near any labeled voxel is, at the same two scales.
    """

    def __init__(self, sources: list[Source], classes: int, fine: float, coarse: float, least: float = 0.0) -> None:
        self.sources = sources
        self.classes = classes
        self.fine = fine
        self.coarse = coarse
        self.least = least

    @property
    def channel_classes(self) -> list[int]:
        """The class of each channel; 0 for those of all classes."""
        return [*range(1, self.classes)] * 2 + [0, 0]

    def channels(self, view: SliceView, keep: tuple[int, ...]) -> list[torch.Tensor]:
        """Channels for ``view`` from the sources ``keep``; each broadcasts to ``(U, V)``, values within ±1."""
        nearest = torch.full((self.classes, *view.size), FAR)
        for number in keep:
            nearest = torch.minimum(nearest, self.sources[number].distance(view, self.least))
        advantage = (other_distances(nearest) - nearest)[1:].clamp(-4 * self.coarse, 4 * self.coarse)
        closest = nearest.min(0).values
        return [
            *torch.tanh(advantage / self.fine),
            *torch.tanh(advantage / self.coarse),
            torch.exp(-closest / self.fine),
            torch.exp(-closest / self.coarse),
        ]
