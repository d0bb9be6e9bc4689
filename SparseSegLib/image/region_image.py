"""Normalized gray values of a region: all in memory, or read part by part where the region is large."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from SparseSegLib.image.coarse import block_means, coarsening
from SparseSegLib.image.geometry import Box
from SparseSegLib.image.intensity import limits, scaled

SLAB_VOXELS = 8_000_000
SAMPLED_SLICES = 64  # of a large region, to find its percentiles
KEPT_PARTS = 2
HIGHEST = 2.0  # normalized gray values are clipped at this and at minus this

Factors = tuple[int, int, int]


class RegionImage(ABC):
    """Normalized gray values ``(C, Z, Y, X)``.

    Attributes
    ----------
    shape : (C, Z, Y, X)
    """

    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def sides(self) -> tuple[int, int, int]:
        """(z, y, x) voxels."""
        return self.shape[1:]

    @abstractmethod
    def part(self, box: Box) -> torch.Tensor:
        """The gray values in ``box``, ``(C, z, y, x)`` float32; not to be changed."""

    @abstractmethod
    def coarse(self, factors: Factors) -> torch.Tensor:
        """Means over blocks of voxels, ``(C, z, y, x)``; see ``block_means``. Half precision for a large region."""

    @abstractmethod
    def coarsened(self, spacing: tuple[float, float, float], most_voxels: int) -> tuple[Factors, torch.Tensor]:
        """About the finest grid of at most ``most_voxels``: its factors and its means ``(C, z, y, x)`` float32."""

    @abstractmethod
    def clipped(self, highest: float) -> RegionImage:
        """The same, clipped at ``highest`` and at minus that."""

    @abstractmethod
    def feed(self, update: Callable[[Any], None]) -> None:
        """Hand all of the gray values to the ``update`` of a hash."""

    def coarse_part(self, factors: Factors, box: Box) -> torch.Tensor:
        """The part of :meth:`coarse` in ``box`` (of the coarse grid), float32."""
        return self.part(box) if factors == (1, 1, 1) else self.coarse(factors)[(slice(None), *box)].float()


class InMemory(RegionImage):
    """Gray values that are all in memory: ``values`` is ``(C, Z, Y, X)`` float32, normalized."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values
        channels, depth, height, width = values.shape
        self.shape = channels, depth, height, width

    def part(self, box: Box) -> torch.Tensor:
        return self.values[(slice(None), *box)]

    def coarse(self, factors: Factors) -> torch.Tensor:
        return block_means(self.values, factors)

    def coarsened(self, spacing: tuple[float, float, float], most_voxels: int) -> tuple[Factors, torch.Tensor]:
        factors = coarsening(self.sides, spacing, most_voxels)
        return factors, self.coarse(factors)

    def clipped(self, highest: float) -> RegionImage:
        return InMemory(self.values.clamp(-highest, highest))

    def feed(self, update: Callable[[Any], None]) -> None:
        update(np.ascontiguousarray(self.values.numpy()).data)


class InParts(RegionImage):
    """Gray values that are read from an array, in memory or on disk, and normalized where they are needed.

    Parameters
    ----------
    array : (C, Z, Y, X), a part of a volume with its own gray values
    highest : what normalized gray values are clipped at
    factors : voxels of the array (z, y, x) for each of this image, which has their mean
    """

    def __init__(self, array: np.ndarray, highest: float = HIGHEST, factors: Factors = (1, 1, 1)) -> None:
        self._array = array
        self._highest = highest
        self._factors = factors
        depth, height, width = (-(-side // factor) for side, factor in zip(array.shape[1:], factors, strict=True))
        self.shape = array.shape[0], depth, height, width
        self._limits = [_limits_of(channel) for channel in array]
        self._parts: dict[tuple[int, ...], torch.Tensor] = {}
        self._coarse: dict[Factors, torch.Tensor] = {}

    def part(self, box: Box) -> torch.Tensor:
        key = tuple(end for side in box for end in (side.start, side.stop))
        if key not in self._parts:
            while len(self._parts) >= KEPT_PARTS:
                del self._parts[next(iter(self._parts))]
            self._parts[key] = self._read(box)
        return self._parts[key]

    def _read(self, box: Box) -> torch.Tensor:
        own = (slice(side.start * factor, side.stop * factor) for side, factor in zip(box, self._factors, strict=True))
        values = torch.from_numpy(np.array(self._array[(slice(None), *own)], dtype=np.float32, order="C"))
        values = block_means(values, self._factors)
        for channel, (low, high) in zip(values, self._limits, strict=True):
            scaled(channel, low, high, out=channel).clamp_(-self._highest, self._highest)
        return values

    def coarse(self, factors: Factors) -> torch.Tensor:
        """Means over blocks of voxels in half precision; made of finer ones where there are some, and kept."""
        if factors not in self._coarse:
            known = [one for one in self._coarse if not any(f % g for f, g in zip(factors, one, strict=True))]
            finest = max(known, key=np.prod) if known else (1, 1, 1)
            z, y, x = (f // g for f, g in zip(factors, finest, strict=True))
            self._coarse[factors] = self._means(finest, (z, y, x))
        return self._coarse[factors]

    def _means(self, before: Factors, factors: Factors) -> torch.Tensor:
        """Means of blocks ``factors`` of the grid that blocks ``before`` make, slab by slab."""
        depth, height, width = (-(-side // factor) for side, factor in zip(self.sides, before, strict=True))
        slab = max(1, SLAB_VOXELS // (height * width * factors[0])) * factors[0]
        found = []
        for start in range(0, depth, slab):
            box = slice(start, min(start + slab, depth)), slice(0, height), slice(0, width)
            values = self._read(box) if before == (1, 1, 1) else self.coarse_part(before, box)
            found.append(block_means(values, factors).half())
        return torch.cat(found, 1)

    def coarsened(self, spacing: tuple[float, float, float], most_voxels: int) -> tuple[Factors, torch.Tensor]:
        """A grid whose voxels are made of those of half the resolution, so that the image is read once for all."""
        finest = min(spacing)
        z, y, x = (2 if step < 1.5 * finest else 1 for step in spacing)
        half = self.coarse((z, y, x))
        twice = spacing[0] * z, spacing[1] * y, spacing[2] * x
        first, second, third = coarsening(tuple(half.shape[1:]), twice, most_voxels)
        factors = first * z, second * y, third * x
        return factors, self.coarse(factors).float()

    def clipped(self, highest: float) -> RegionImage:
        return InParts(self._array, highest, self._factors)

    def feed(self, update: Callable[[Any], None]) -> None:
        for channel in self._array:
            for plane in channel:
                update(np.ascontiguousarray(plane).data)


def _limits_of(channel: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """What becomes −1 and 1 of a channel ``(Z, Y, X)``, from some of its slices."""
    depth, height, width = channel.shape
    slices = channel[:: max(1, depth // SAMPLED_SLICES)]
    step = max(1, round((len(slices) * height * width / 1_000_000) ** 0.5))
    sample = torch.from_numpy(np.array(slices[:, ::step, ::step], dtype=np.float32)).flatten()
    return limits(sample, lambda: (float(channel.min()), float(channel.max())))
