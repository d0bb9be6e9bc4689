"""Gray values and their smoothed neighborhood as bins of a histogram, of a whole image or part by part."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from scipy import ndimage

from SparseSegLib.image import Box
from SparseSegLib.image.region_image import InMemory, RegionImage
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.types import Spacing3

BINS = 16
BLUR = 1.5  # voxels, of the finest spacing
REACH = 4.0  # standard deviations, as far as the Gaussian goes
SAMPLED = 5  # blocks along each axis of a large image, to find its percentiles
SAMPLE_SIDE = 16  # voxels of such a block

Pairs = list[tuple[torch.Tensor, torch.Tensor]]
"""For each channel fractional bins in ``[0, BINS - 1]``, of the gray values and of their neighborhood."""


class GrayBins(Protocol):
    """Bins of the voxels of one image."""

    channels: int

    def cut(self, view: SliceView) -> Pairs:
        """Those of a slice, each ``(U, V)``."""
        ...

    def at(self, points: torch.Tensor) -> Pairs:
        """Those of some voxels ``(N, 3)``, each ``(N,)``."""
        ...


def bins_of(image: RegionImage, spacing: Spacing3) -> GrayBins:
    """The bins of an image whose voxels are ``spacing`` (z, y, x) apart."""
    return _WholeBins(image, spacing) if isinstance(image, InMemory) else _PartBins(image, spacing)


class _WholeBins:
    """Computed once for all voxels."""

    def __init__(self, image: InMemory, spacing: Spacing3) -> None:
        self.channels = len(image)
        self._pairs = [
            tuple(_to_bins(values, *_limits(values)) for values in (channel, _smooth(channel, spacing)))
            for channel in image.values
        ]

    def cut(self, view: SliceView) -> Pairs:
        return [(view.cut(sharp), view.cut(smooth)) for sharp, smooth in self._pairs]

    def at(self, points: torch.Tensor) -> Pairs:
        places = tuple(points.T)
        return [(sharp[places], smooth[places]) for sharp, smooth in self._pairs]


class _PartBins:
    """Computed for the part that a slice is a part of, and kept until there is another one."""

    def __init__(self, image: RegionImage, spacing: Spacing3) -> None:
        self.channels = len(image)
        self._image = image
        self._spacing = spacing
        self._limits = [tuple(map(_limits, pair)) for pair in self._sampled()]
        self._box: Box | None = None
        self._pairs: Pairs = []

    def cut(self, view: SliceView) -> Pairs:
        box = view.box
        inside = view.index - box[view.axis].start
        return [(sharp.select(view.axis, inside), smooth.select(view.axis, inside)) for sharp, smooth in self._of(box)]

    def at(self, points: torch.Tensor) -> Pairs:
        """Slice by slice along the axis with the fewest."""
        found = [(torch.empty(len(points)), torch.empty(len(points))) for _ in range(self.channels)]
        if not len(points):
            return found
        axis = min(range(3), key=lambda axis: len(points[:, axis].unique()))
        for index in points[:, axis].unique():
            chosen = points[:, axis] == index
            low, high = points[chosen].amin(0).tolist(), points[chosen].amax(0).tolist()
            z, y, x = (slice(start, stop + 1) for start, stop in zip(low, high, strict=True))
            places = tuple((points[chosen] - torch.tensor(low)).T)
            for own, pair in zip(found, self._of((z, y, x)), strict=True):
                for values, bins in zip(own, pair, strict=True):
                    values[chosen] = bins[places]
        return found

    def _of(self, box: Box) -> Pairs:
        """The bins in a box."""
        if self._box != box:
            self._pairs = [
                (_to_bins(sharp, *limits[0]), _to_bins(smooth, *limits[1]))
                for (sharp, smooth), limits in zip(self._values(box), self._limits, strict=True)
            ]
            self._box = box
        return self._pairs

    def _values(self, box: Box) -> Pairs:
        """The gray values in a box, and those of the smoothed image."""
        reach = [int(REACH * blur + 0.5) for blur in _blurs(self._spacing)]
        around = tuple(
            slice(max(0, side.start - more), min(size, side.stop + more))
            for side, more, size in zip(box, reach, self._image.sides, strict=True)
        )
        inside = tuple(
            slice(side.start - wide.start, side.stop - wide.start) for side, wide in zip(box, around, strict=True)
        )
        z, y, x = around
        return [(channel[inside], _smooth(channel, self._spacing)[inside]) for channel in self._image.part((z, y, x))]

    def _sampled(self) -> Pairs:
        """The values of blocks all over the image, each ``(N,)``."""
        starts = [
            np.linspace(0, max(0, side - SAMPLE_SIDE), SAMPLED).astype(int).tolist() for side in self._image.sides
        ]
        blocks = []
        for z in starts[0]:
            for y in starts[1]:
                for x in starts[2]:
                    corner = zip((z, y, x), self._image.sides, strict=True)
                    a, b, c = (slice(start, min(start + SAMPLE_SIDE, side)) for start, side in corner)
                    blocks.append(self._values((a, b, c)))
        return [
            (
                torch.cat([block[channel][0].flatten() for block in blocks]),
                torch.cat([block[channel][1].flatten() for block in blocks]),
            )
            for channel in range(self.channels)
        ]


def _blurs(spacing: Spacing3) -> list[float]:
    """Standard deviations (voxels) of the neighborhood along (z, y, x)."""
    return [BLUR * min(spacing) / step for step in spacing]


def _smooth(channel: torch.Tensor, spacing: Spacing3) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(channel.numpy(), _blurs(spacing), truncate=REACH))


def _limits(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first and the last bin's gray values, from some of the values."""
    sample = values.flatten()[:: max(1, values.numel() // 100_000)]
    low, high = torch.quantile(sample, torch.tensor([0.005, 0.995]))
    return low, high


def _to_bins(values: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    return ((values - low) / (high - low).clamp(min=1e-6) * (BINS - 1)).clamp(0, BINS - 1)
