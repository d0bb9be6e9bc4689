"""Normalized gray values of a region: all in memory, or read part by part where the region is large."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import torch

from SparseSegLib.image.coarse import block_means, coarsening
from SparseSegLib.image.geometry import Box
from SparseSegLib.image.intensity import limits, scaled

SLAB_VOXELS = 8_000_000
SAMPLED_SLICES = 64  # of a large region, to find its percentiles
SAMPLED_VOXELS = 1_000_000  # about
KEPT_PARTS = 2
HIGHEST = 2.0  # normalized gray values are clipped at this and at minus this

Factors = tuple[int, int, int]
Read = Callable[[Box], np.ndarray]


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
    """Gray values that are read from memory or a disk, and normalized, where they are needed.

    Parameters
    ----------
    read : gives a box of a region as ``(C, z, y, x)``, with the image's own gray values
    shape : (C, Z, Y, X) of the region
    highest : what normalized gray values are clipped at
    factors : voxels of the region (z, y, x) for each of this image, which has their mean
    """

    def __init__(
        self, read: Read, shape: tuple[int, int, int, int], highest: float = HIGHEST, factors: Factors = (1, 1, 1)
    ) -> None:
        self._own = read, shape
        self._highest = highest
        self._factors = factors
        depth, height, width = (-(-side // factor) for side, factor in zip(shape[1:], factors, strict=True))
        self.shape = shape[0], depth, height, width
        self._limits = [
            limits(sample, partial(self._extremes, channel)) for channel, sample in enumerate(self._sample())
        ]
        self._lock = Lock()
        self._parts: dict[tuple[int, ...], torch.Tensor] = {}
        self._coarse: dict[Factors, torch.Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_parts": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def part(self, box: Box) -> torch.Tensor:
        key = tuple(end for side in box for end in (side.start, side.stop))
        with self._lock:  # experts train side by side
            if key not in self._parts:
                while len(self._parts) >= KEPT_PARTS:
                    del self._parts[next(iter(self._parts))]
                self._parts[key] = self._read(box)
            return self._parts[key]

    def _read(self, box: Box) -> torch.Tensor:
        read, (_, *sides) = self._own
        z, y, x = (
            slice(side.start * factor, min(size, side.stop * factor))
            for side, factor, size in zip(box, self._factors, sides, strict=True)
        )
        values = torch.from_numpy(np.array(read((z, y, x)), dtype=np.float32, order="C"))
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
        return InParts(*self._own, highest, self._factors)

    def feed(self, update: Callable[[Any], None]) -> None:
        for plane in self._slices(1):
            update(np.ascontiguousarray(plane).data)

    def _slices(self, every: int) -> Iterator[np.ndarray]:
        """Each so many-th slice of the region, ``(C, 1, Y, X)`` with its own gray values."""
        read, (_, depth, height, width) = self._own
        for index in range(0, depth, every):
            yield read((slice(index, index + 1), slice(0, height), slice(0, width)))

    def _sample(self) -> Iterator[torch.Tensor]:
        """Of each channel some gray values, ``(N,)``."""
        depth, height, width = self._own[1][1:]
        every = max(1, depth // SAMPLED_SLICES)
        step = max(1, round((depth // every * height * width / SAMPLED_VOXELS) ** 0.5))
        slices = [np.array(plane[..., ::step, ::step], dtype=np.float32) for plane in self._slices(every)]
        for channel in range(self.shape[0]):
            yield torch.from_numpy(np.concatenate([plane[channel].ravel() for plane in slices]))

    def _extremes(self, channel: int) -> tuple[float, float]:
        """The lowest and the highest gray value of a channel."""
        ends = [(plane[channel].min(), plane[channel].max()) for plane in self._slices(1)]
        return float(min(low for low, _ in ends)), float(max(high for _, high in ends))
