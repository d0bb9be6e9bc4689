"""How likely each class is for what a voxel looks like, at several scales, from the labeled voxels.

Gray values, edges and granularity at three scales are compared with those of the labeled voxels, each by itself (the
logarithm of a likelihood ratio of histograms) and all together (a linear discriminant of them and their squares). All
are sums over sources: leaving one out is leaving its terms out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage

from SparseSegLib.image.coarse import between_blocks, block_means
from SparseSegLib.image.region_image import RegionImage
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import Source
from SparseSegLib.prior.types import Shape3, Spacing3

SCALES = (1, 2, 4)  # voxels, of the finest spacing: of the grid that a Gaussian of one voxel is taken on
FEATURES = 8
"""Of a voxel: gray value; smoothed and edge at three scales but the last; granularity at the two coarser ones."""

BINS = 32
SPREAD = 3.0  # standard deviations that the bins reach to on either side
SOFTEST = 1e-3  # added to a histogram, so that what was never seen says little
RIDGE = 1e-2
STEEPNESS = 3.0  # logarithm of a likelihood ratio that is squashed to tanh(1)
MOST_KEPT = 64


class LikelihoodPrior:
    """Likelihood maps of any slice from the labels, with any of the sources left out.

    Parameters
    ----------
    image : RegionImage
    sources : where labels come from
    classes : background included
    spacing : (z, y, x) in mm
    before : of the same image with other sources, whose features are taken over
    """

    def __init__(
        self,
        image: RegionImage,
        sources: Sequence[Source],
        classes: int,
        spacing: Spacing3,
        before: LikelihoodPrior | None = None,
    ) -> None:
        self.classes = classes
        self.channels = len(image)
        self._levels: list[_Level] = before._levels if before else _levels(image, spacing)
        self._sums = [self._sums_of(source) for source in sources]
        self._learned: dict[tuple[int, ...], tuple[torch.Tensor, torch.Tensor]] = {}

    def maps(self, view: SliceView, keep: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """What the sources ``keep`` say of a slice, within ±1, positive for a structure.

        Of each structure, image channel and feature ``(K - 1, C, FEATURES, U, V)``, and of each structure all together
        ``(K - 1, U, V)``.
        """
        ratios, discriminant = self._learn(keep)
        features = self._cut(view)
        place = (features / SPREAD + 1) / 2 * (BINS - 1)
        low = place.floor().clamp(0, BINS - 2)
        share = (place - low).clamp(0, 1)
        index = low.long().flatten(1).expand(self.classes - 1, -1, -1)
        below, above = (ratios.gather(2, index + more).unflatten(2, view.size) for more in (0, 1))
        each = torch.lerp(below, above, share)
        together = torch.einsum("km,muv->kuv", discriminant, _with_squares(features))
        return torch.tanh(each.unflatten(1, (self.channels, FEATURES)) / STEEPNESS), together.clamp(-1, 1)

    def _cut(self, view: SliceView) -> torch.Tensor:
        """The features of a slice ``(C · FEATURES, U, V)``."""
        places = [range(side.start, side.stop) for side in view.box]
        places[view.axis] = range(view.index, view.index + 1)
        found = [level.at(places).squeeze(2 + view.axis) for level in self._levels]
        return torch.cat(found, 1).flatten(0, 1)

    def _sums_of(self, source: Source) -> _Sums:
        """What a source adds to the histograms and to the moments of each class."""
        points, labels = source.coordinates(), source.values()
        features = torch.cat([level.read(points) for level in self._levels], 1).flatten(0, 1)
        bins = ((features / SPREAD + 1) / 2 * (BINS - 1)).round().long()
        count = len(features)
        flat = (labels * count + torch.arange(count)[:, None]) * BINS + bins
        histograms = torch.bincount(flat.flatten(), minlength=self.classes * count * BINS)
        extended = _with_squares(features)
        moments = []
        for label in range(self.classes):
            own = extended[:, labels == label]
            moments.append(own @ own.T)
        return _Sums(histograms.view(self.classes, count, BINS).float(), torch.stack(moments))

    def _learn(self, keep: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithms of likelihood ratios ``(K - 1, C · FEATURES, BINS)``, and discriminants ``(K - 1, M)``."""
        if keep not in self._learned:
            if len(self._learned) >= MOST_KEPT:
                self._learned.clear()
            count = self.channels * FEATURES
            histograms = torch.zeros(self.classes, count, BINS)
            moments = torch.zeros(self.classes, 2 * count + 1, 2 * count + 1)
            for number in keep:
                histograms += self._sums[number].histograms
                moments += self._sums[number].moments
            pairs = [_against_rest(histograms, moments, label) for label in range(1, self.classes)]
            self._learned[keep] = torch.stack([one for one, _ in pairs]), torch.stack([one for _, one in pairs])
        return self._learned[keep]


@dataclass(frozen=True)
class _Sums:
    """Of a source, for each class: histograms ``(K, C · FEATURES, BINS)``, second moments ``(K, M, M)``."""

    histograms: torch.Tensor
    moments: torch.Tensor


@dataclass(frozen=True)
class _Level:
    """Features on one grid: ``(C, F, z, y, x)`` half precision, of blocks of ``factors`` voxels."""

    factors: Shape3
    values: torch.Tensor

    def at(self, places: Sequence[Sequence[int]]) -> torch.Tensor:
        """Those of every combination of places along (z, y, x), interpolated: ``(C, F, z, y, x)``."""
        values = self.values
        for axis, (factor, along) in enumerate(zip(self.factors, places, strict=True)):
            if len(along) == 1:  # so that a slice is cut out before anything is converted
                low = max(0, min(along[0] // factor - 1, values.shape[axis - 3] - 1))
                high = min(values.shape[axis - 3], along[0] // factor + 2)
                values = values.narrow(values.ndim + axis - 3, low, high - low)
                places = [*places[:axis], [along[0] - low * factor], *places[axis + 1 :]]
        return between_blocks(values.float(), self.factors, places)

    def read(self, points: torch.Tensor) -> torch.Tensor:
        """Those of the blocks that some voxels ``(N, 3)`` lie in: ``(C, F, N)``."""
        z, y, x = (points // torch.tensor(self.factors)).T
        return self.values[:, :, z, y, x].float()


def _levels(image: RegionImage, spacing: Spacing3) -> list[_Level]:
    """The features of an image, each of standard deviation 1 and mean 0."""
    levels = []
    for scale in SCALES:
        z, y, x = (max(1, round(scale * min(spacing) / step)) for step in spacing)
        values = image.coarse((z, y, x)).float()
        steps = [step * factor / (scale * min(spacing)) for step, factor in zip(spacing, (z, y, x), strict=True)]
        smooth = _smooth(values, steps)
        found = [values] if scale == SCALES[0] else []
        found.append(smooth)
        if scale != SCALES[-1]:
            found.append(_edges(smooth, steps))
        if scale != SCALES[0]:
            found.append(_granularity(image, values, (z, y, x), steps))
        stacked = torch.stack(found, 1)
        voxels = (2, 3, 4)
        mean, deviation = stacked.mean(voxels, keepdim=True), stacked.std(voxels, keepdim=True)
        levels.append(_Level((z, y, x), ((stacked - mean) / (deviation + 1e-6)).clamp(-SPREAD, SPREAD).half()))
    return levels


def _smooth(values: torch.Tensor, steps: Sequence[float]) -> torch.Tensor:
    """Under a Gaussian of one unit, of which voxels are ``steps`` long."""
    return torch.from_numpy(
        ndimage.gaussian_filter(values.numpy(), (0, *(1 / step for step in steps)), mode="nearest", truncate=2.5)
    )


def _edges(values: torch.Tensor, steps: Sequence[float]) -> torch.Tensor:
    """The length of the gradient."""
    total = torch.zeros_like(values)
    for axis, step in enumerate(steps, start=1):
        if values.shape[axis] > 1:
            total += (torch.gradient(values, dim=axis)[0] / step) ** 2
    return total.sqrt()


def _granularity(image: RegionImage, means: torch.Tensor, factors: Shape3, steps: Sequence[float]) -> torch.Tensor:
    """The standard deviation of the finest gray values around a voxel."""
    z, y, x = image.sides
    whole = image.part((slice(0, z), slice(0, y), slice(0, x)))
    variance = block_means(whole.square(), factors) - means.square()
    spread = variance + (means - _smooth(means, steps)).square()
    return _smooth(spread, steps).clamp(min=0).sqrt()


def _with_squares(features: torch.Tensor) -> torch.Tensor:
    """``(F, ...)`` with their squares and ones, ``(2 F + 1, ...)``."""
    return torch.cat([features, features.square() / 2, torch.ones_like(features[:1])])


def _against_rest(histograms: torch.Tensor, moments: torch.Tensor, label: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms of likelihood ratios and the discriminant of one class against the others, both as frequent."""
    rest = [other for other in range(len(histograms)) if other != label]
    inside, outside = _density(histograms[label]), _density(histograms[rest].sum(0))
    ratio = torch.log(inside / outside)
    own, others = moments[label], moments[rest].sum(0)
    one, other = own / own[-1, -1].clamp(min=1), others / others[-1, -1].clamp(min=1)
    matrix = (one + other) / 2 + RIDGE * torch.eye(len(own))
    return ratio, torch.linalg.solve(matrix, (one[-1] - other[-1]) / 2)


def _density(histogram: torch.Tensor) -> torch.Tensor:
    """``(F, BINS)`` counts as densities."""
    smooth = torch.from_numpy(ndimage.gaussian_filter1d(histogram.numpy(), 1.0, axis=1, mode="nearest"))
    density = smooth / smooth.sum(1, keepdim=True).clamp(min=1)
    return (density + SOFTEST) / (density + SOFTEST).sum(1, keepdim=True)
