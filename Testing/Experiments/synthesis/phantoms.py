"""Phantoms: a pelvis of ellipsoids with its prostate, and anatomy that is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from Experiments.synthesis.anatomy import Anatomy
from Experiments.synthesis.fields import Size, Spacing, smooth_field

FAT, MUSCLE, BONE, MARROW, RECTUM, GAS, BLADDER, VESSEL, CENTRAL, PERIPHERAL, CAPSULE = range(11)
BUMPS, BUMP_HEIGHT = 12.0, 1.2  # mm: how far apart, and how high
WAVES, WAVE_HEIGHT = 35.0, 3.0


def pelvis_phantom(size: Size, spacing: Spacing, rng: np.random.Generator) -> Anatomy:
    """An axial view of a male pelvis: bones, muscles, bladder, rectum, and a prostate of central and peripheral zone.

    Axes run as in LPS: z to the head, y to the back, x to the left.

    Parameters
    ----------
    size : (z, y, x) voxels
    spacing : (z, y, x) mm
    rng : decides on sizes and places; the same one gives the same phantom
    """
    space = _Space(size, spacing, rng)
    tissues = np.full(size, FAT, np.uint8)
    width, height, depth = rng.uniform(19, 32), rng.uniform(14, 25), rng.uniform(14, 30)  # radii of the prostate, mm
    where = rng.normal(0, (3, 4, 3))
    behind = where[1] + height

    tissues[space.inside((0, 0, 0), (400, rng.uniform(60, 90), rng.uniform(70, 100)))] = MUSCLE
    tissues[space.inside((0, where[1] - 5, 0), (400, rng.uniform(40, 60), rng.uniform(36, 52)))] = FAT
    for side in (-1, 1):
        bone = (rng.normal(5, 5), rng.uniform(-20, 10), side * rng.uniform(68, 85))
        tissues[space.inside(bone, rng.uniform((28, 22, 12), (45, 38, 20)))] = BONE
        tissues[space.inside(bone, rng.uniform((24, 17, 8), (40, 30, 15)))] = MARROW
        levator = (where[0] - 5, where[1] + rng.uniform(-3, 8), side * (width + rng.uniform(4, 9)))
        tissues[space.inside(levator, rng.uniform((25, 20, 3), (45, 32, 6)))] = MUSCLE
    pubis = (where[0] - 10, where[1] - height - rng.uniform(12, 22), 0)
    tissues[space.inside(pubis, rng.uniform((15, 8, 18), (25, 14, 34)))] = BONE
    for _ in range(rng.integers(4, 12)):
        spot = rng.uniform((-25, -30, -45), (25, 35, 45))
        tissues[space.inside(spot, rng.uniform(1.5, 4, 3) * (3, 1, 1))] = VESSEL
    rectum = rng.uniform((11, 11), (22, 24))
    place = (where[0], behind + rectum[0] + rng.uniform(0, 3), rng.normal(0, 4))
    tissues[space.inside(place, (60, *rectum))] = RECTUM
    tissues[space.inside(place, (60, *rectum * rng.uniform(0.3, 0.85)))] = GAS
    bladder = rng.uniform((12, 18, 20), (32, 36, 45))
    above = (where[0] + depth + bladder[0] * rng.uniform(0.55, 0.9), where[1] - rng.uniform(0, 15), rng.normal(0, 5))
    tissues[space.inside(above, bladder * 1.12)] = MUSCLE
    tissues[space.inside(above, bladder)] = BLADDER

    radii = np.array([depth, height, width])
    target = space.inside(where, radii)
    shift = where + radii * (rng.uniform(0, 0.15), -rng.uniform(0.1, 0.3), 0)
    central = space.inside(shift, radii * rng.uniform(0.5, 0.85, 3)) & target
    tissues[target] = PERIPHERAL
    tissues[central] = CENTRAL
    tissues[target & ~ndimage.binary_erosion(target)] = CAPSULE
    return Anatomy.of(tissues, target)


def shapes_phantom(size: Size, spacing: Spacing, rng: np.random.Generator, count: int = 12) -> Anatomy:
    """Smooth regions of any shape, and no prostate: what a network must find nothing in.

    The class of a voxel is that of ``count`` random smooth fields whose value is the highest there (Hoffmann et al.
    2022, SynthMorph, section 3.2).
    """
    width = rng.uniform(5, 18)
    fields = [smooth_field(size, spacing, width, rng) for _ in range(count)]
    return Anatomy.of(np.argmax(fields, 0).astype(np.uint8), np.zeros(size, bool))


class _Space:
    """A grid of mm around its middle, its points moved smoothly at random, so that ellipsoids come out bumpy."""

    def __init__(self, size: Size, spacing: Spacing, rng: np.random.Generator) -> None:
        self._rng = rng
        axes = [(np.arange(part) - (part - 1) / 2) * step for part, step in zip(size, spacing, strict=True)]
        bumps, waves = ([smooth_field(size, spacing, width, rng) for _ in range(3)] for width in (BUMPS, WAVES))
        self._places = [
            place + BUMP_HEIGHT * bump + WAVE_HEIGHT * wave
            for place, bump, wave in zip(np.meshgrid(*axes, indexing="ij"), bumps, waves, strict=True)
        ]

    def inside(self, center: Sequence[float] | np.ndarray, radii: Sequence[float] | np.ndarray) -> np.ndarray:
        """Which voxels are in an ellipsoid, turned a little about z; center and radii (z, y, x) in mm."""
        angle = self._rng.normal(0, 0.1)
        z, y, x = (places - middle for places, middle in zip(self._places, center, strict=True))
        y, x = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
        return (z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2 < 1
