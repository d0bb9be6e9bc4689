"""Volumes without end: structures of many kinds, seen in many ways; what problems are made of to learn from.

Several channels, several structures, textures, thick slices, bias fields, the noise of ultrasound and of electron
microscopes, and structures of which the image shows a part: all drawn at random from one generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from Experiments.synthesis.fields import Spacing
from Experiments.synthesis.kinds import HELD_OUT, KINDS, Drawn, draw_structures
from Experiments.synthesis.scenes import one_of_several, paint_structure, scanned, surroundings
from Experiments.synthesis.space import Space

CHANNELS = (0.75, 0.18, 0.07)  # fractions of the volumes with one, two and three
FEWEST_SLICES = 10
LEARNED = tuple(kind for kind in KINDS if kind not in HELD_OUT)


@dataclass(frozen=True, eq=False)
class World:
    """A volume with all of its structures.

    Attributes
    ----------
    kind : of the structures, or where a real one is from
    image : (C, Z, Y, X) float32
    labels : (Z, Y, X) uint8, structures 1 to n
    spacing : (z, y, x) mm
    """

    kind: str
    image: np.ndarray
    labels: np.ndarray
    spacing: Spacing


def random_world(rng: np.random.Generator, kinds: Sequence[str] = LEARNED) -> World:
    """A volume of one of these kinds; the same generator gives the same one. Its structures may be tiny."""
    space = Space.random(rng)
    shares = np.array([KINDS[kind][1] for kind in kinds])
    kind = str(rng.choice(list(kinds), p=shares / shares.sum()))
    drawn = draw_structures(kind, space)
    alike = None
    if drawn.tissues is None and drawn.labels.max() == 1 and rng.random() < 0.2:
        chosen, alike = one_of_several(drawn.labels > 0, rng)
        drawn = Drawn(chosen.astype(np.uint8))
    count = 1 + int(rng.choice(len(CHANNELS), p=CHANNELS))
    image = np.stack([seen(drawn, alike, space) for _ in range(count)])
    world = World(kind, image, drawn.labels, space.spacing)
    if rng.random() < 0.2:
        world = with_thick_slices(world, rng)
    if rng.random() < 0.25:
        world = partly_covered(world, rng)
    return world


def seen(drawn: Drawn, alike: np.ndarray | None, space: Space) -> np.ndarray:
    """One channel ``(Z, Y, X)`` float32 of what was drawn; ``alike`` looks as the structure does, and is none."""
    rng, labels = space.rng, drawn.labels
    if drawn.tissues is None:
        image = surroundings(space, labels > 0)
    else:
        image = rng.uniform(-1, 1, int(drawn.tissues.max()) + 1)[drawn.tissues]
        if rng.random() < 0.5:
            image = image + 0.5 * surroundings(space, labels > 0)
    for label in range(1, int(labels.max()) + 1):
        if drawn.tissues is None or rng.random() < 0.4:
            paint_structure(image, labels == label, alike, space)
    if rng.random() < 0.5:
        textured(image, drawn, alike, space)
    return _SENSORS[int(rng.choice(len(_SENSORS), p=_SHARES))](image, drawn, space).astype(np.float32)


def textured(image: np.ndarray, drawn: Drawn, alike: np.ndarray | None, space: Space) -> None:
    """Give structures and tissues grains of their own, in place; at times these are all that tells them apart."""
    rng = space.rng
    parts = drawn.labels.astype(int)
    if alike is not None:
        parts[alike] = 1
    if drawn.tissues is not None:
        parts = drawn.tissues + (drawn.tissues.max() + 1) * parts
    level = float(image.mean()) if rng.random() < 0.3 else None
    for part in np.unique(parts):
        here = parts == part
        if level is not None:
            image[here] = level + rng.normal(0, 0.05)
        grain = ndimage.gaussian_filter(
            rng.standard_normal(space.size), rng.uniform(0.5, 3.0) / np.array(space.spacing)
        )
        image[here] += rng.uniform(0, 0.35) * grain[here] / max(float(grain.std()), 1e-6)


def ultrasonic(image: np.ndarray, drawn: Drawn, space: Space) -> np.ndarray:
    """Speckle that is stretched across the beam, fading with depth, shadows, and the logarithm of all that."""
    rng = space.rng
    depth_axis = int(rng.integers(3))
    echo = np.exp(image - image.mean())
    width = np.array([0.6 if axis == depth_axis else rng.uniform(0.8, 2.0) for axis in range(3)])
    parts = (ndimage.gaussian_filter(rng.standard_normal(space.size), width / space.spacing) for _ in range(2))
    speckle = np.sqrt(sum(part**2 / part.var() for part in parts))
    depth = space.places[depth_axis] / space.extent[depth_axis]
    shadow = np.cumsum(np.clip(space.field(0.2 * space.narrow) - rng.uniform(1.0, 3.0), 0, None), depth_axis)
    fading = np.exp(-rng.uniform(0, 1.5) * depth - rng.uniform(0, 0.3) * shadow)
    amplitude = echo * fading * speckle ** rng.uniform(0.4, 1.0)
    return np.asarray(np.log(amplitude + 0.05 * rng.uniform(0.2, 1.0)))


def electronic(image: np.ndarray, drawn: Drawn, space: Space) -> np.ndarray:
    """Dark membranes around everything, shot noise, and sections that differ in brightness."""
    rng = space.rng
    regions = drawn.labels if drawn.tissues is None else drawn.tissues
    edges = ndimage.morphological_gradient(regions, size=(3, 3, 3)) > 0
    image = 0.5 * image + rng.uniform(0, 0.2) * space.field(rng.uniform(2, 5))
    image[edges] = image.min() - rng.uniform(0, 0.5)
    image = ndimage.gaussian_filter(image, rng.uniform(0, 0.8, 3))
    axis = int(np.argmax(space.spacing))
    shape = [space.size[axis] if other == axis else 1 for other in range(3)]
    image = image + rng.uniform(0, 0.15) * rng.standard_normal(shape)
    return np.asarray(image + rng.uniform(0.1, 0.4) * rng.standard_normal(space.size))


def _usual(image: np.ndarray, drawn: Drawn, space: Space) -> np.ndarray:
    return scanned(image, space)


def _biased(image: np.ndarray, drawn: Drawn, space: Space) -> np.ndarray:
    """With a strong bias field."""
    rng = space.rng
    field = space.field(space.narrow * rng.uniform(0.5, 1.0))
    return scanned((image - image.min() + 0.3) * np.exp(rng.uniform(0.3, 0.7) * field), space)


_SENSORS = (_usual, _biased, ultrasonic, electronic)
_SHARES = (0.6, 0.16, 0.12, 0.12)


def with_thick_slices(world: World, rng: np.random.Generator) -> World:
    """Slices that are the mean of several along one axis; the structure is what is in their middle."""
    axis = int(rng.integers(3))
    most = min(5, world.labels.shape[axis] // FEWEST_SLICES, int(6 / world.spacing[axis]))
    if most < 2:
        return world
    factor = int(rng.integers(2, most + 1))
    count = world.labels.shape[axis] // factor
    image = np.moveaxis(world.image, 1 + axis, 1)[:, : count * factor]
    image = image.reshape(len(image), count, factor, *image.shape[2:]).mean(2)
    labels = np.moveaxis(world.labels, axis, 0)[factor // 2 : count * factor : factor]
    z, y, x = (step * (factor if other == axis else 1) for other, step in enumerate(world.spacing))
    return World(world.kind, np.moveaxis(image, 1, 1 + axis), np.moveaxis(labels, 0, axis), (z, y, x))


def partly_covered(world: World, rng: np.random.Generator) -> World:
    """A part of the volume, so that structures run out of it; or air outside of a cylinder."""
    if rng.random() < 0.6:
        sides = []
        for size in world.labels.shape:
            kept = max(min(size, FEWEST_SLICES), round(size * rng.uniform(0.55, 1.0)))
            start = int(rng.integers(size - kept + 1))
            sides.append(slice(start, start + kept))
        return replace(world, image=world.image[(slice(None), *sides)], labels=world.labels[tuple(sides)])
    axis = int(rng.integers(3))
    steps = [
        (np.arange(size) - rng.uniform(0.4, 0.6) * size) * step
        for size, step in zip(world.labels.shape, world.spacing, strict=True)
    ]
    off = [place for other, place in enumerate(np.meshgrid(*steps, indexing="ij")) if other != axis]
    radius = min(np.ptp(step) for other, step in enumerate(steps) if other != axis) * rng.uniform(0.4, 0.6)
    outside = off[0] ** 2 + off[1] ** 2 > radius**2
    image, labels = world.image.copy(), world.labels.copy()
    image[:, outside] = image.reshape(len(image), -1).min(1)[:, None]
    labels[outside] = 0
    return replace(world, image=image, labels=labels)
