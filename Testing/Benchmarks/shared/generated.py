"""Large volumes with their truth, generated slab by slab: trabecular bone, vessels, a compact organ, cells."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from SparseSegLib.image import Geometry, Volume
from SparseSegLib.image.coarse import between_blocks

LONGEST_PERIOD = 512  # voxels: random fields repeat themselves, as larger ones take gigabytes
KNOTS = 12  # of a wave: a field of longer waves is made on a coarser grid
SLAB = 32  # slices
SPACING = 0.05  # mm
BLUR = 0.7  # voxels
NOISE = (8.0, 12.0)  # gray values, before and after the blur

Range = tuple[int, int]
Kind = Callable[[int, np.random.Generator], Callable[[int, int], tuple[np.ndarray, np.ndarray]]]
"""From a side and random numbers to what makes truth (bool) and gray values of the slices from one to another."""


@dataclass(frozen=True)
class Field:
    """Smooth random numbers in three dimensions, mean 0 and standard deviation 1, that repeat themselves.

    Attributes
    ----------
    knots : (m, m, m), one for each ``step`` voxels
    side : voxels of the volume
    """

    knots: np.ndarray
    step: int
    side: int

    @classmethod
    def of(cls, side: int, wave: float, spread: float, rng: np.random.Generator) -> Field:
        """Waves of about ``wave`` voxels, whose frequencies differ by the fraction ``spread``."""
        step = max(1, int(wave / KNOTS))
        count = min(-(-side // step), LONGEST_PERIOD)
        along = np.fft.fftfreq(count, step).astype(np.float32)
        half = np.fft.rfftfreq(count, step).astype(np.float32)
        frequency = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + half**2)
        spectrum = np.fft.rfftn(rng.standard_normal((count,) * 3, np.float32)).astype(np.complex64)
        spectrum *= np.exp(-(((frequency * wave - 1) / spread) ** 2) / 2)
        knots = np.fft.irfftn(spectrum, (count,) * 3, axes=(0, 1, 2)).astype(np.float32)
        return cls(knots / knots.std(), step, side)

    def slices(self, start: int, stop: int) -> np.ndarray:
        """The slices from ``start`` to ``stop``, ``(stop - start, side, side)``."""
        count = len(self.knots)
        first, last = start // self.step, -(-stop // self.step) + 1
        planes = self.knots[np.arange(first - 1, last) % count]
        around = np.arange(-1, -(-self.side // self.step) + 1) % count
        planes = planes[:, around][:, :, around]
        if self.step == 1:
            return planes[1 : 1 + stop - start, 1 : 1 + self.side, 1 : 1 + self.side]
        own = range(start - (first - 1) * self.step, stop - (first - 1) * self.step)
        across = range(self.step, self.step + self.side)
        return between_blocks(torch.from_numpy(planes), (self.step,) * 3, (own, across, across)).numpy()


def trabecular(side: int, rng: np.random.Generator) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Walls of about five voxels in a ball: everything is near a surface."""
    field = Field.of(side, 16, 0.25, rng)

    def slices(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        truth = (field.slices(start, stop) > 0.6) & (_distance(side, start, stop) < 0.42)
        return truth, np.where(truth, 140.0, 90.0)

    return slices


def vessels(side: int, rng: np.random.Generator) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Trees of tubes, 12 to 3 voxels wide, in a textured organ with bright spots that are none."""
    balls = np.array(list(_tree(side, rng)))
    texture, spots = Field.of(side, 40, 0.4, rng), Field.of(side, 9, 0.3, rng)

    def slices(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        truth = np.zeros((stop - start, side, side), bool)
        for z, y, x, radius in balls[(balls[:, 0] + balls[:, 3] >= start) & (balls[:, 0] - balls[:, 3] < stop)]:
            low = [max(edge, int(place - radius)) for place, edge in ((z, start), (y, 0), (x, 0))]
            high = [min(edge, int(place + radius) + 2) for place, edge in ((z, stop), (y, side), (x, side))]
            a, b, c = np.ogrid[tuple(map(slice, low, high))]
            inside = (a - z) ** 2 + (b - y) ** 2 + (c - x) ** 2 < radius**2
            truth[low[0] - start : high[0] - start, low[1] : high[1], low[2] : high[2]] |= inside
        gray = 95 + 10 * texture.slices(start, stop)
        gray[spots.slices(start, stop) > 3.2] += 35
        gray[truth] = 135
        return truth, gray

    return slices


def organ(side: int, rng: np.random.Generator) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """One smooth compact organ, some of whose neighbors are as bright as it is."""
    shape, texture = Field.of(side, side / 3, 0.3, rng), Field.of(side, 12, 0.4, rng)
    neighbors = Field.of(side, side / 5, 0.3, rng)

    def slices(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        distance = _distance(side, start, stop)
        truth = distance < 0.27 + 0.03 * shape.slices(start, stop)
        gray = np.where(truth, 132.0, 105.0) + 6 * texture.slices(start, stop)
        gray[(neighbors.slices(start, stop) > 0.9) & ~truth] += 25
        gray[distance > 0.5] -= 60
        return truth, gray

    return slices


def cells(side: int, rng: np.random.Generator) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """Blobs of very different brightness, many of which touch."""
    field, brightness = Field.of(side, 26, 0.2, rng), Field.of(side, 60, 0.4, rng)

    def slices(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        value = field.slices(start, stop)
        truth = value > 0.9
        bright = 55 * (1 + 0.5 * np.tanh(brightness.slices(start, stop)))
        return truth, 60 + truth * bright + 12 * np.clip(value, -1, 1)

    return slices


KINDS: dict[str, Kind] = {"trabecular": trabecular, "vessels": vessels, "organ": organ, "cells": cells}
"""The kinds of volumes."""


def generate(kind: str, side: int, seed: int, folder: Path) -> tuple[Volume, np.ndarray]:
    """A volume of ``side`` voxels along each axis, uint8, and its truth (0 and 1), as files that are read in parts.

    The same arguments give the same volume; files that are there already are taken.
    """
    paths = [folder / f"{kind}_{side}_{seed}{name}.npy" for name in ("", "_truth")]
    if not all(path.exists() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        _write(kind, side, seed, paths)
    image, truth = (np.load(path, mmap_mode="r") for path in paths)
    return Volume(image[None], Geometry((side,) * 3, (SPACING,) * 3), f"{kind} {side}"), truth


def _write(kind: str, side: int, seed: int, paths: list[Path]) -> None:
    rng = np.random.default_rng([seed, side])
    make = KINDS[kind](side, rng)
    unfinished = [path.with_suffix(".part") for path in paths]
    image, truth = (np.lib.format.open_memmap(path, "w+", np.uint8, (side,) * 3) for path in unfinished)
    for start in range(0, side, SLAB):
        stop = min(start + SLAB, side)
        truth[start:stop], gray = make(start, stop)
        noisy = gray + NOISE[0] * rng.standard_normal(gray.shape, np.float32)
        noisy = ndimage.gaussian_filter(noisy, BLUR) + NOISE[1] * rng.standard_normal(gray.shape, np.float32)
        image[start:stop] = noisy.clip(0, 255)
    del image, truth
    for path, whole in zip(unfinished, paths, strict=True):
        path.replace(whole)


def _distance(side: int, start: int, stop: int) -> np.ndarray:
    """Distance from the volume's middle as a fraction of its side."""
    z, y, x = (np.arange(*ends, dtype=np.float32) - side / 2 for ends in ((start, stop), (0, side), (0, side)))
    return np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) / side


def _tree(side: int, rng: np.random.Generator) -> Iterator[tuple[float, float, float, float]]:
    """Balls (z, y, x, radius) along tubes that branch and get thinner."""
    tips = [(np.array([*rng.uniform(0.3, 0.7, 2), 0.08]) * side, np.array([0.0, 0.0, 1.0]), 6.0) for _ in range(3)]
    while tips:
        place, heading, radius = tips.pop()
        for _ in range(int(rng.uniform(0.08, 0.2) * side)):
            heading = heading + 0.05 * rng.standard_normal(3)
            heading /= np.linalg.norm(heading)
            place = place + heading
            if place.min() <= 4 or place.max() >= side - 5:
                break
            yield (*place.tolist(), radius)
        else:
            for _ in itertools.repeat(None, 2 if radius > 1.9 else 0):
                turned = heading + 0.5 * rng.standard_normal(3)
                tips.append((place, turned / np.linalg.norm(turned), radius * rng.uniform(0.7, 0.85)))
