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

from SparseSegLib.image.coarse import block_means
from SparseSegLib.prior.types import Spacing3

SCALES = (1, 2, 4, 8, 16)  # voxels, of the finest spacing
FINE = 2.0  # voxels: a Gaussian that is wider is taken on a coarser grid, of which it is as wide

Block = tuple[range, range, range]
"""Voxels in z, y and x, whose every combination is meant."""


class VoxelFeatures:
    """Multi-scale features of any voxel of one image.

    Parameters
    ----------
    image : Tensor (C, Z, Y, X), normalized gray values
    spacing : (z, y, x) mm
    """

    def __init__(self, image: torch.Tensor, spacing: Spacing3) -> None:
        self._levels = []
        for scale in SCALES:
            deviations = [scale * min(spacing) / step for step in spacing]
            reach = tuple(max(1, round(deviation)) for deviation in deviations)
            self._levels.append(_Level.of(_smooth(image, deviations), reach))

    def table(self, where: Block) -> torch.Tensor:
        """The features ``(N, F)`` of the voxels ``where``, z slowest."""
        columns = [column for level in self._levels for column in level.features(where)]
        return torch.cat(columns).flatten(1).T.contiguous()


@dataclass(frozen=True)
class _Level:
    """The image under one Gaussian.

    Attributes
    ----------
    padded : ``(C, Z, Y, X)``; ``reach`` more voxels on every side, which repeat the border
    reach : (z, y, x) voxels between those that derivatives compare
    """

    padded: torch.Tensor
    reach: tuple[int, ...]

    @classmethod
    def of(cls, smooth: torch.Tensor, reach: tuple[int, ...]) -> _Level:
        """A level of an image ``(C, Z, Y, X)`` that is smooth already."""
        sides = [step for step in reversed(reach) for _ in range(2)]
        return cls(F.pad(smooth[None], sides, mode="replicate")[0], reach)

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


def _smooth(image: torch.Tensor, deviations: list[float]) -> torch.Tensor:
    """A Gaussian of such standard deviations (voxels) over ``(C, Z, Y, X)``; wide ones by way of a coarser grid."""
    z, y, x = (max(1, int(deviation / FINE)) for deviation in deviations)
    factors = (z, y, x)
    small = block_means(image, factors)
    rest = [deviation / factor for deviation, factor in zip(deviations, factors, strict=True)]
    smooth = torch.from_numpy(ndimage.gaussian_filter(small.numpy(), (0, *rest), mode="nearest", truncate=3.0))
    if factors == (1, 1, 1):
        return smooth
    size = [count * factor for count, factor in zip(small.shape[1:], factors, strict=True)]
    depth, height, width = image.shape[1:]
    return F.interpolate(smooth[None], size=size, mode="trilinear", align_corners=False)[0, :, :depth, :height, :width]


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
