"""Generated volumes of many kinds, each with a structure to segment, to pretrain a network for any of them.

Shapes, surroundings, contrasts, textures, spacings and noise are drawn at random, wider than real images have them (in
the manner of SynthSeg, Billot et al. 2023). No real image goes in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from Experiments.synthesis.fields import Spacing
from Experiments.synthesis.space import Space

TUBES, PIECES = (1, 5), (5, 60)


@dataclass(frozen=True, eq=False)
class Scene:
    """A volume and its structure.

    Attributes
    ----------
    kind : of the structure, a name out of ``KINDS``
    image : (Z, Y, X) float32
    structure : (Z, Y, X) bool
    spacing : (z, y, x) mm, 1 mm the finest
    """

    kind: str
    image: np.ndarray
    structure: np.ndarray
    spacing: Spacing


def random_scene(rng: np.random.Generator) -> Scene:
    """A scene of some 40 000 to 800 000 voxels; the same generator gives the same one. The structure may be tiny."""
    space = Space.random(rng)
    kind = str(rng.choice(list(KINDS), p=[share for _, share in KINDS.values()]))
    structure = KINDS[kind][0](space)
    structure, alike = one_of_several(structure, rng) if rng.random() < 0.2 else (structure, None)
    image = surroundings(space, structure)
    paint_structure(image, structure, alike, space)
    return Scene(kind, scanned(image, space), structure, space.spacing)


def _blob(space: Space) -> np.ndarray:
    """One organ or tumor."""
    radius = space.narrow * space.rng.uniform(0.15, 0.38)
    return space.ellipsoid(radius, space.rng.uniform(0.05, 0.45)) > 0


def _pieces(space: Space) -> np.ndarray:
    """Many of a kind, as nuclei are."""
    rng, found = space.rng, np.zeros(space.size, bool)
    radius = space.narrow * rng.uniform(0.05, 0.16)
    for _ in range(int(rng.integers(*PIECES))):
        middle = rng.uniform(0, space.size)
        reach = 2.2 * radius / np.array(space.spacing)
        low = np.maximum(0, middle - reach).astype(int)
        high = np.minimum(space.size, middle + reach + 1).astype(int)
        if min(high - low) < 2:
            continue
        depth, height, width = (high - low).tolist()
        part = Space((depth, height, width), space.spacing, rng)
        window = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
        found[window] |= part.ellipsoid(radius * np.exp(rng.normal(0, 0.2)), rng.uniform(0, 0.12), np.zeros(3)) > 0
    return found


def _regions(space: Space) -> np.ndarray:
    """Regions where a smooth field is high; sometimes inside an ellipsoid only."""
    found = space.field(space.narrow * space.rng.uniform(0.1, 0.35)) > space.rng.uniform(-0.3, 1.2)
    if space.rng.random() < 0.5:
        found &= space.ellipsoid(space.narrow * 0.42, 0.1) > 0
    return found


def _folded(space: Space) -> np.ndarray:
    """A folded body or its rind, as white and gray matter are."""
    rng, length = space.rng, space.narrow
    depth = space.ellipsoid(length * rng.uniform(0.35, 0.5), 0.0) * 0.4 * length
    depth += space.field(length * rng.uniform(0.05, 0.15)) * length * rng.uniform(0.05, 0.12)
    rind = length * rng.uniform(0.04, 0.1) if rng.random() < 0.5 else np.inf
    surface = rng.uniform(0, 0.1) * length
    return (depth > surface) & (depth < surface + rind)


def _tubes(space: Space) -> np.ndarray:
    """Vessels: paths that turn slowly."""
    rng, extent = space.rng, space.extent
    radius = max(space.narrow * rng.uniform(0.03, 0.09), 0.8 * max(space.spacing))
    off = np.ones(space.size, bool)
    for _ in range(int(rng.integers(*TUBES))):
        place, heading = rng.uniform(-0.4, 0.4, 3) * extent, rng.standard_normal(3)
        for _ in range(int(rng.integers(30, 90))):
            heading += 0.25 * rng.standard_normal(3)
            heading /= np.linalg.norm(heading)
            place = place + 0.6 * radius * heading
            if np.any(np.abs(place) >= extent / 2):
                break
            off[tuple(((place / extent + 0.5) * space.size).astype(int))] = False
    return np.asarray(ndimage.distance_transform_edt(off, sampling=space.spacing) < radius)


KINDS: dict[str, tuple[Callable[[Space], np.ndarray], float]] = {
    "blob": (_blob, 0.35),
    "pieces": (_pieces, 0.2),
    "regions": (_regions, 0.1),
    "folded": (_folded, 0.25),
    "tubes": (_tubes, 0.1),
}
"""The kinds of structures, and the fraction of the scenes that has each."""


def one_of_several(structure: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """One of the largest three pieces, and the others, which will look like it."""
    pieces, count = ndimage.label(structure)
    if count < 2:
        return structure, None
    largest = np.argsort(np.bincount(pieces.ravel())[1:])[-3:] + 1
    chosen = pieces == rng.choice(largest)
    return chosen, structure & ~chosen


def surroundings(space: Space, structure: np.ndarray) -> np.ndarray:
    """Gray values of up to six tissues; now and then a body before dark or bright air."""
    rng = space.rng
    count = int(rng.integers(1, 6))
    tissues = np.zeros(space.size, np.intp)
    for tissue in range(1, count):
        tissues[space.field(space.narrow * rng.uniform(0.08, 0.5)) > rng.uniform(0.2, 1.2)] = tissue
    if rng.random() < 0.5:
        body = space.ellipsoid(space.narrow * rng.uniform(0.45, 0.6), 0.08, np.zeros(3)) > 0
        tissues[~body & ~structure] = count
    return rng.uniform(-1, 1, count + 1)[tissues]


def paint_structure(image: np.ndarray, structure: np.ndarray, alike: np.ndarray | None, space: Space) -> None:
    """Give the structure a gray value, near that of its neighbors or far from it; zones and a rim at times."""
    rng = space.rng
    rind = ndimage.binary_dilation(structure, iterations=2) & ~structure
    contrast = rng.uniform(0.1, 0.35) if rng.random() < 0.5 else rng.uniform(0.3, 1.2)
    own = (image[rind].mean() if rind.any() else 0.0) + contrast * rng.choice((-1, 1))
    image[structure] = own
    if rng.random() < 0.35:
        image[structure & (space.field(space.narrow * rng.uniform(0.08, 0.35)) > 0.3)] = own + rng.normal(0, 0.4)
    if alike is not None:
        image[alike] = own + rng.normal(0, 0.05)
    if rng.random() < 0.3:
        image[structure & ~ndimage.binary_erosion(structure)] += rng.normal(0, 0.3)


def scanned(image: np.ndarray, space: Space) -> np.ndarray:
    """With textures, blur, a bias field at times, and noise."""
    rng = space.rng
    image = image + rng.uniform(0, 0.2) * space.field(rng.uniform(2, 6)) + rng.uniform(0, 0.15) * space.field(12.0)
    image = ndimage.gaussian_filter(image, rng.uniform(0, 1.3, 3))
    if rng.random() < 0.5:
        image = image * np.exp(rng.uniform(0, 0.25) * space.field(0.8 * space.narrow))
    noise = 0.25 * rng.uniform() * rng.uniform()
    return (image + noise * rng.standard_normal(space.size)).astype(np.float32)
