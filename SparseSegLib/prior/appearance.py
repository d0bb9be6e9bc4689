"""The probability of each class given gray value and place, from the labeled voxels, as a prior.

Two kinds of channels for each image channel. The *global* one is the class posterior in a joint histogram of the gray
value and its smoothed neighborhood. The *local* ones vote in a bilateral grid (Chen et al., SIGGRAPH 2007): labels are
splatted into a coarse grid over (z, y, x, gray value), blurred, and read back by interpolation, so that what is bright
and inside at one end of the volume may be bright and outside at the other. Splatting is a sum over sources: leaving one
out is leaving its terms out.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from SparseSegLib.image.region_image import RegionImage
from SparseSegLib.prior.gray_bins import BINS, GrayBins, bins_of
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import Source
from SparseSegLib.prior.types import Shape3, Spacing3

BLURS = (0.8, 2.0)  # cells
MOST_CELLS = 24
PSEUDOCOUNT = 1e-3


class AppearancePrior:
    """Channels from the gray values under the labels.

    Parameters
    ----------
    image : RegionImage
    sources : list of Source
        Where labels come from.
    classes : int
        Number of classes, background included.
    spacing : (z, y, x) in mm
    coarse : float
        Size of the objects (mm); the bilateral grid's cells are half of it.
    before : of the same image with other sources, whose gray values are taken over
    """

    def __init__(
        self,
        image: RegionImage,
        sources: list[Source],
        classes: int,
        spacing: Spacing3,
        coarse: float,
        before: AppearancePrior | None = None,
    ) -> None:
        self.classes = classes
        self.shape: Shape3 = image.sides
        self.bins: GrayBins = before.bins if before else bins_of(image, spacing)
        self.cells = [
            max(1, round(max(4 * min(spacing), coarse / 2) / step), -(-count // MOST_CELLS))
            for step, count in zip(spacing, self.shape, strict=True)
        ]
        self.grid = [(count - 1) // cell + 2 for count, cell in zip(self.shape, self.cells, strict=True)]
        self._votes = [self._votes_of(source) for source in sources]
        self._tables: dict[tuple[int, ...], list[tuple[torch.Tensor, list[torch.Tensor]]]] = {}

    @property
    def channel_classes(self) -> list[int]:
        """The class of each channel."""
        return [*range(1, self.classes)] * (1 + len(BLURS)) * self.bins.channels

    def channels(self, view: SliceView, keep: tuple[int, ...]) -> list[torch.Tensor]:
        """Channels for ``view`` from the sources ``keep``; each ``(U, V)``, probabilities."""
        channels: list[torch.Tensor] = []
        for (values, neighborhood), (posterior, tables) in zip(self.bins.cut(view), self._learn(keep), strict=True):
            channels += _look_up(posterior, values, neighborhood)
            for table in tables:
                channels += self._read(table, neighborhood, view)
        return channels

    def _votes_of(self, source: Source) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each image channel, flat bins of a source's voxels in the joint histogram and in the bilateral grid."""
        points, classes = source.coordinates(), source.values()
        votes = []
        for sharp, smooth in self.bins.at(points):
            first, second = sharp.round().long(), smooth.round().long()
            joint = (classes * BINS + first) * BINS + second
            flat = classes * BINS + second
            for axis in range(3):
                place = (points[:, axis] / self.cells[axis]).round().long()
                flat = flat * self.grid[axis] + place
            votes.append((joint, flat))
        return votes

    def _learn(self, keep: tuple[int, ...]) -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
        """For each image channel the joint posterior and the blurred bilateral grids of the sources ``keep``."""
        if keep not in self._tables:
            if len(self._tables) > 256:
                self._tables.clear()
            kept = [self._votes[number] for number in keep]
            self._tables[keep] = [
                self._learn_channel([votes[channel] for votes in kept]) for channel in range(self.bins.channels)
            ]
        return self._tables[keep]

    def _learn_channel(self, votes: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        joint_shape = (self.classes, BINS, BINS)
        grid_shape = (self.classes, BINS, *self.grid)
        joint = _histogram([joint for joint, _ in votes], joint_shape)
        local = _histogram([flat for _, flat in votes], grid_shape)
        likelihood = ndimage.gaussian_filter(joint, (0, 0.7, 0.7))
        likelihood /= np.maximum(likelihood.sum((1, 2), keepdims=True), 1e-9)
        posterior = (likelihood + 1e-7) / (likelihood + 1e-7).sum(0, keepdims=True)
        tables = []
        for blur in BLURS:
            blurred = ndimage.gaussian_filter(local, (0, 0.7, blur, blur, blur), mode="constant") + PSEUDOCOUNT
            tables.append(torch.from_numpy(blurred[1:] / blurred.sum(0, keepdims=True)))
        return torch.from_numpy(posterior[1:]), tables

    def _read(self, table: torch.Tensor, bins: torch.Tensor, view: SliceView) -> list[torch.Tensor]:
        """Interpolate a bilateral grid ``(K - 1, BINS, z, y, x)`` at the pixels of ``view``."""
        place = view.index / self.cells[view.axis]
        below = min(int(place), self.grid[view.axis] - 2)
        share = place - below
        plane = table.select(2 + view.axis, below) * (1 - share) + table.select(2 + view.axis, below + 1) * share
        rows, columns = (self._weights(axis)[side] for axis, side in zip(view.axes, view.window, strict=True))
        full = torch.einsum("kbpq,up,vq->kbuv", plane, rows, columns)
        below_bin = bins.floor().long().clamp(max=BINS - 2)
        share_bin = bins - below_bin
        index = below_bin[None, None].expand(full.shape[0], 1, *bins.shape)
        low, high = torch.gather(full, 1, index)[:, 0], torch.gather(full, 1, index + 1)[:, 0]
        return list(low * (1 - share_bin) + high * share_bin)

    def _weights(self, axis: int) -> torch.Tensor:
        """Linear interpolation along ``axis`` from the grid's cells to the voxels, as a matrix."""
        place = torch.arange(self.shape[axis]) / self.cells[axis]
        cells = torch.arange(self.grid[axis])
        return (1 - (place[:, None] - cells[None]).abs()).clamp(min=0)


def _histogram(bins: list[torch.Tensor], shape: tuple[int, ...]) -> np.ndarray:
    counts = torch.bincount(torch.cat([torch.zeros(0, dtype=torch.int64), *bins]), minlength=int(np.prod(shape)))
    return counts.reshape(shape).numpy().astype(np.float32)


def _look_up(posterior: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
    """Bilinear look-up in the joint posterior ``(K - 1, BINS, BINS)`` at fractional bins ``(U, V)``."""
    grid = torch.stack([second, first], -1)[None] / (BINS - 1) * 2 - 1
    return list(F.grid_sample(posterior[None], grid, align_corners=True)[0])
