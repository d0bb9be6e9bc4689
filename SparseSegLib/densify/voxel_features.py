"""Features of voxels at several scales, as pixel classifiers have them (Sommer et al., ilastik, ISBI 2011).

In three dimensions: the image under Gaussians of 1 to 16 voxels, and of each its gradient's length and the eigenvalues
of its Hessian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy import ndimage

from SparseSegLib.image import Box
from SparseSegLib.image.region_image import RegionImage
from SparseSegLib.prior.types import Spacing3

SCALES = (1, 2, 4, 8, 16)  # voxels, of the finest spacing
FINE = 2.0  # voxels: a Gaussian that is wider is taken on a coarser grid, of which it is as wide
REACH = 3.0  # standard deviations, as far as a Gaussian goes

Block = tuple[range, range, range]
"""Voxels in z, y and x, whose every combination is meant."""


class VoxelFeatures:
    """Multi-scale features of any voxel of one image, or of a part of it.

    Parameters
    ----------
    image : RegionImage
    spacing : (z, y, x) mm
    box : the part; None for all of it
    """

    def __init__(self, image: RegionImage, spacing: Spacing3, box: Box | None = None) -> None:
        depth, height, width = image.sides
        self._box = box or (slice(0, depth), slice(0, height), slice(0, width))
        self._levels = []
        for scale in SCALES:
            deviations = [scale * min(spacing) / step for step in spacing]
            reach = tuple(max(1, round(deviation)) for deviation in deviations)
            self._levels.append(_Level.of(image, deviations, self._box, reach))

    def table(self, where: Block) -> torch.Tensor:
        """The features ``(N, F)`` of the voxels ``where``, which lie in the part, z slowest."""
        z, y, x = (
            range(places.start - side.start, places.stop - side.start, places.step)
            for places, side in zip(where, self._box, strict=True)
        )
        columns = [column for level in self._levels for column in level.features((z, y, x))]
        return torch.cat(columns).flatten(1).T.contiguous()


@dataclass(frozen=True)
class _Level:
    """A part of the image under one Gaussian.

    Attributes
    ----------
    padded : ``(C, z, y, x)``; ``reach`` more voxels on every side, which repeat the image's border
    reach : (z, y, x) voxels between those that derivatives compare
    """

    padded: torch.Tensor
    reach: tuple[int, ...]

    @classmethod
    def of(cls, image: RegionImage, deviations: list[float], box: Box, reach: tuple[int, ...]) -> _Level:
        """The part ``box`` under a Gaussian of such standard deviations (voxels)."""
        wide = [(side.start - step, side.stop + step) for side, step in zip(box, reach, strict=True)]
        z, y, x = (slice(max(0, low), min(size, high)) for (low, high), size in zip(wide, image.sides, strict=True))
        missing = [
            part
            for (low, high), there in reversed(list(zip(wide, (z, y, x), strict=True)))
            for part in (there.start - low, high - there.stop)
        ]
        return cls(F.pad(_smooth(image, deviations, (z, y, x))[None], missing, mode="replicate")[0], reach)

    def at(self, where: Block, *offsets: int) -> torch.Tensor:
        """The voxels ``where``, or their neighbors ``offsets`` (z, y, x) times the reach away."""
        shifts = [(1 + offset) * step for offset, step in zip(offsets, self.reach, strict=True)]
        places = [
            slice(part.start + shift, part.stop + shift, part.step) for part, shift in zip(where, shifts, strict=True)
        ]
        return self.padded[(slice(None), *places)]

    def features(self, where: Block) -> list[torch.Tensor]:
        """Value, gradient's length and the Hessian's three eigenvalues at ``where``, each ``(C, z, y, x)``."""

        def at(z: int, y: int, x: int) -> torch.Tensor:
            return self.at(where, z, y, x)

        middle = at(0, 0, 0)
        low, high = (at(-1, 0, 0), at(0, -1, 0), at(0, 0, -1)), (at(1, 0, 0), at(0, 1, 0), at(0, 0, 1))
        gradient = sum(((after - before) / 2).square() for before, after in zip(low, high, strict=True))
        straight = [after + before - 2 * middle for before, after in zip(low, high, strict=True)]
        mixed = [
            (at(1, 1, 0) + at(-1, -1, 0) - at(1, -1, 0) - at(-1, 1, 0)) / 4,
            (at(1, 0, 1) + at(-1, 0, -1) - at(1, 0, -1) - at(-1, 0, 1)) / 4,
            (at(0, 1, 1) + at(0, -1, -1) - at(0, 1, -1) - at(0, -1, 1)) / 4,
        ]
        return [middle, torch.as_tensor(gradient).sqrt(), *_eigenvalues(straight, mixed)]


def _smooth(image: RegionImage, deviations: list[float], box: Box) -> torch.Tensor:
    """The part ``box`` of an image under a Gaussian of such standard deviations (voxels), ``(C, z, y, x)``.

    Wide Gaussians are taken by way of a coarser grid. What is around the box as far as they reach counts.
    """
    z, y, x = (max(1, int(deviation / FINE)) for deviation in deviations)
    factors = (z, y, x)
    rest = [deviation / factor for deviation, factor in zip(deviations, factors, strict=True)]
    around = []
    for side, factor, deviation, size in zip(box, factors, rest, image.sides, strict=True):
        more = int(REACH * deviation + 0.5) + 1
        around.append(
            slice(max(0, side.start // factor - more), min(-(-size // factor), -(-side.stop // factor) + more))
        )
    small = image.coarse_part(factors, (around[0], around[1], around[2]))
    smooth = torch.from_numpy(ndimage.gaussian_filter(small.numpy(), (0, *rest), mode="nearest", truncate=REACH))
    if factors != (1, 1, 1):
        fine = [count * factor for count, factor in zip(small.shape[1:], factors, strict=True)]
        smooth = F.interpolate(smooth[None], size=fine, mode="trilinear", align_corners=False)[0]
    inside = [
        slice(side.start - wide.start * factor, side.stop - wide.start * factor)
        for side, wide, factor in zip(box, around, factors, strict=True)
    ]
    return smooth[(slice(None), *inside)]


def _eigenvalues(straight: list[torch.Tensor], mixed: list[torch.Tensor]) -> list[torch.Tensor]:
    """Of symmetric 3×3 matrices, the largest first, in closed form (Smith, CACM 1961).

    ``straight`` are the elements zz, yy and xx, ``mixed`` zy, zx and yx.
    """
    mean = (straight[0] + straight[1] + straight[2]) / 3
    a, b, c = (element - mean for element in straight)
    d, e, f = mixed
    size = ((a.square() + b.square() + c.square() + 2 * (d.square() + e.square() + f.square())) / 6).sqrt()
    determinant = a * (b * c - f.square()) - d * (d * c - f * e) + e * (d * f - b * e)
    angle = (determinant / (2 * size.pow(3)).clamp(min=1e-20)).clamp(-1, 1).acos() / 3
    first = mean + 2 * size * angle.cos()
    last = mean + 2 * size * (angle + 2 * math.pi / 3).cos()
    return [first, 3 * mean - first - last, last]
