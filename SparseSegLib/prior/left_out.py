"""Leave-one-out score of a part of the prior on annotated slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import PlaneSource, Source
from SparseSegLib.prior.types import Shape3, Spacing3

MOST_SLICES = 8


class Part(Protocol):
    """The interface of a part: channels, class by class and then over again."""

    def channels(self, view: SliceView, keep: tuple[int, ...]) -> list[torch.Tensor]:
        """Channels of a slice from the sources ``keep``."""
        ...


def left_out_iou(
    part: Part,
    threshold: float,
    sources: list[Source],
    without: Callable[[set[int]], tuple[int, ...]],
    classes: int,
    shape: Shape3,
    spacing: Spacing3,
) -> float:
    """The IoU of a part's best channels with annotated slices, each of them left out in turn.

    Parameters
    ----------
    part : each of its channels scores one class, the classes but background taking turns
    threshold : above which a channel means that a pixel belongs to its class
    sources : where labels come from; up to ``MOST_SLICES`` of the planes among them are used
    without : the numbers of the sources that are independent of some others
    classes : background included
    shape, spacing : (z, y, x) of the volume in voxels and mm

    Returns
    -------
    Mean over the classes that occur, for the best set of channels; 0 without planes.
    """
    planes = [(number, source) for number, source in enumerate(sources) if isinstance(source, PlaneSource)]
    overlap = union = drawn_pixels = torch.zeros(1, classes - 1)
    for number, source in planes[:: -(-len(planes) // MOST_SLICES) or 1]:
        view = SliceView(source.axis, source.index, shape, spacing)
        believed = torch.stack(part.channels(view, without({number}))).unflatten(0, (-1, classes - 1)) > threshold
        seen = source.labels != UNLABELED
        drawn = source.labels == torch.arange(1, classes)[:, None, None]
        overlap = overlap + (believed & drawn & seen).sum((-2, -1))
        union = union + ((believed | drawn) & seen).sum((-2, -1))
        drawn_pixels = drawn_pixels + drawn.sum((-2, -1))
    there = drawn_pixels[0] > 0
    return float((overlap / union.clamp(min=1))[:, there].mean(-1).max()) if there.any() else 0.0
