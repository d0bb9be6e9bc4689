"""Kinds of generated structures, several at once at times: the scenes' own, and those that real volumes have beside.

Branching vessels, spongy bone, cells in layers, organs side by side, lesions scattered in an organ, hollow walls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from Experiments.synthesis import scenes
from Experiments.synthesis.space import Space

HALVED = 0.12  # fraction of single structures that are parted into two, as organs are into lobes


@dataclass(frozen=True, eq=False)
class Drawn:
    """Structures and what is around them.

    Attributes
    ----------
    labels : (Z, Y, X) uint8, structures 1 to n
    tissues : (Z, Y, X) integers, regions that look different, the structures' own included; None for any surroundings
    """

    labels: np.ndarray
    tissues: np.ndarray | None = None


def vessels(space: Space) -> Drawn:
    """A tree that branches, each branch thinner than its stem."""
    rng = space.rng
    thinnest = 0.6 * max(space.spacing)
    points: dict[float, list[np.ndarray]] = {}
    stem = max(space.narrow * rng.uniform(0.03, 0.08), 1.5 * thinnest)
    branches = [(rng.uniform(-0.35, 0.35, 3) * space.extent, rng.standard_normal(3), stem)]
    for _ in range(int(rng.integers(6, 25))):
        if not branches:
            break
        place, heading, radius = branches.pop(0)
        for _ in range(int(rng.integers(6, 30))):
            heading = heading / max(np.linalg.norm(heading), 1e-6) + 0.2 * rng.standard_normal(3)
            place = place + 0.8 * radius * heading / np.linalg.norm(heading)
            if np.any(np.abs(place) >= space.extent / 2):
                break
            points.setdefault(round(radius, 1), []).append(place)
        else:
            turns = 0.8 * rng.standard_normal(3)
            thinner = max(radius * rng.uniform(0.65, 0.9), thinnest)
            branches += [(place, heading + turns, thinner), (place, heading - turns, thinner)]
    found = np.zeros(space.size, bool)
    for radius, along in points.items():
        off = np.ones(space.size, bool)
        index = ((np.array(along) / space.extent + 0.5) * space.size).astype(int)
        off[tuple(index.T)] = False
        found |= ndimage.distance_transform_edt(off, sampling=space.spacing) < radius
    return Drawn(found.astype(np.uint8))


def trabeculae(space: Space) -> Drawn:
    """Spongy bone: plates or rods where random fields vanish; in an ellipsoid with a rind at times."""
    rng = space.rng
    width = max(space.narrow * rng.uniform(0.08, 0.2), 4 * max(space.spacing))
    first = space.field(width)
    inside = np.abs(first) < rng.uniform(0.2, 0.5)
    if rng.random() < 0.5:
        inside = first**2 + space.field(width) ** 2 < rng.uniform(0.3, 0.8)
    if rng.random() < 0.5:
        depth = space.ellipsoid(space.narrow * rng.uniform(0.4, 0.5), 0.1)
        inside = (inside & (depth > 0)) | ((depth > 0) & (depth < rng.uniform(0.0, 0.12)))
    return Drawn(inside.astype(np.uint8))


def cells(space: Space) -> Drawn:
    """Cells that fill a tissue, smaller in one layer than in the other; their nuclei, or what is between them."""
    rng = space.rng
    size = max(space.narrow * rng.uniform(0.1, 0.25), 4 * max(space.spacing))
    seeds = np.stack([line.ravel() for line in np.meshgrid(*_lattice(space, size), indexing="ij")], -1)
    seeds = seeds + rng.normal(0, 0.25 * size, seeds.shape)
    layer = seeds @ rng.standard_normal(3) > rng.uniform(-0.2, 0.2) * space.narrow
    seeds = np.concatenate([seeds, seeds[layer] + rng.normal(0, 0.4 * size, (int(layer.sum()), 3))])
    near, number = cKDTree(seeds).query(np.stack(space.places, -1), k=2)
    gap = near[..., 1] - near[..., 0]
    membrane = gap < max(0.12 * size * rng.uniform(0.8, 2.0), 1.2 * min(space.spacing))
    radii = size * rng.uniform(0.22, 0.4) * np.exp(rng.normal(0, 0.1, len(seeds)))
    nucleus = (near[..., 0] < radii[number[..., 0]]) & ~membrane
    tissues = np.where(membrane, 1, np.where(nucleus, 2, 0))
    which = rng.random()
    if which < 0.5:
        labels = nucleus.astype(np.uint8)
    elif which < 0.7:
        labels = (~membrane).astype(np.uint8)
    elif which < 0.85:
        labels = membrane.astype(np.uint8)
    else:
        labels = np.where(nucleus, 1, np.where(membrane, 2, 0)).astype(np.uint8)
    return Drawn(labels, tissues)


def _lattice(space: Space, size: float) -> list[np.ndarray]:
    return [np.arange(-side / 2, side / 2 + size, size) for side in space.extent]


def organs(space: Space) -> Drawn:
    """Organs side by side, with borders that bulge; one to three of them are the structures."""
    rng = space.rng
    count = int(rng.integers(4, 10))
    seeds = rng.uniform(-0.45, 0.45, (count, 3)) * space.extent
    z, y, x = space.places
    bulge = space.narrow * rng.uniform(0.03, 0.12)
    width = space.narrow * rng.uniform(0.2, 0.5)
    far = [
        np.sqrt((z - seed[0]) ** 2 + (y - seed[1]) ** 2 + (x - seed[2]) ** 2) * np.exp(rng.normal(0, 0.15))
        + bulge * space.field(width)
        for seed in seeds
    ]
    tissues = np.argmin(far, 0)
    if rng.random() < 0.4:
        tissues = np.where(np.ptp(np.sort(far, 0)[:2], 0) < rng.uniform(1, 3) * min(space.spacing), count, tissues)
    body = space.ellipsoid(space.narrow * rng.uniform(0.42, 0.6), 0.05, np.zeros(3)) > 0
    tissues = np.where(body, tissues, count + 1)
    largest = np.argsort(np.bincount(tissues.ravel(), minlength=count + 2)[:count])[::-1][: max(3, count // 2)]
    labels = np.zeros(space.size, np.uint8)
    for label, organ in enumerate(rng.permutation(largest)[: rng.choice((1, 1, 2, 3))], start=1):
        labels[tissues == organ] = label
    return Drawn(labels, tissues)


def lesions(space: Space) -> Drawn:
    """Spots of many sizes in an organ; at times both are structures."""
    rng = space.rng
    organ = space.ellipsoid(space.narrow * rng.uniform(0.3, 0.5), rng.uniform(0.05, 0.3)) > 0
    spots = np.zeros(space.size, bool)
    middles = np.argwhere(organ)
    largest = max(space.narrow * rng.uniform(0.04, 0.14), 1.5 * max(space.spacing))
    for _ in range(int(rng.integers(3, 40))):
        if not len(middles):
            break
        middle = (middles[rng.integers(len(middles))] + 0.5 - np.array(space.size) / 2) * space.spacing
        radius = largest * rng.uniform(0.3, 1.0)
        z, y, x = (
            (line - at) / radius / np.exp(rng.normal(0, 0.2)) for line, at in zip(space.places, middle, strict=True)
        )
        spots |= z**2 + y**2 + x**2 < 1
    spots &= organ & (space.field(largest) > -2)
    labels = spots.astype(np.uint8)
    if rng.random() < 0.2:
        labels[organ & ~spots] = 2
    return Drawn(labels, np.where(spots, 2, organ.astype(int)))


def shells(space: Space) -> Drawn:
    """Hollow walls, as of a bladder or a ventricle."""
    rng = space.rng
    radius = space.narrow * rng.uniform(0.22, 0.42)
    depth = radius * space.ellipsoid(radius, rng.uniform(0.05, 0.25))
    thick = max(radius * rng.uniform(0.12, 0.4), 1.5 * min(space.spacing))
    wall = (depth > 0) & (depth < thick)
    return Drawn(wall.astype(np.uint8), np.where(wall, 1, np.where(depth > 0, 2, 0)))


def _of_scenes(kind: str) -> Callable[[Space], Drawn]:
    def draw(space: Space) -> Drawn:
        return Drawn(scenes.KINDS[kind][0](space).astype(np.uint8))

    return draw


KINDS: dict[str, tuple[Callable[[Space], Drawn], float]] = {
    "blob": (_of_scenes("blob"), 0.17),
    "pieces": (_of_scenes("pieces"), 0.12),
    "regions": (_of_scenes("regions"), 0.05),
    "folded": (_of_scenes("folded"), 0.12),
    "tubes": (_of_scenes("tubes"), 0.04),
    "vessels": (vessels, 0.08),
    "cells": (cells, 0.1),
    "organs": (organs, 0.2),
    "lesions": (lesions, 0.12),
    "trabeculae": (trabeculae, 1.0),
    "shells": (shells, 1.0),
}
"""The kinds, and how often each is among those that are drawn."""

HELD_OUT = ("trabeculae", "shells")
"""Kinds that no training sees."""


def draw_structures(kind: str, space: Space) -> Drawn:
    """Structures of a kind, one of them in two parts at times."""
    drawn = KINDS[kind][0](space)
    if drawn.labels.max() == 1 and space.rng.random() < HALVED:
        direction = space.rng.standard_normal(3)
        across = sum(line * part for line, part in zip(space.places, direction, strict=True))
        inside = drawn.labels == 1
        side = across > np.median(across[inside]) + 0.05 * space.narrow * space.field(0.4 * space.narrow)
        return Drawn(np.where(inside & side, 2, drawn.labels).astype(np.uint8), drawn.tissues)
    return drawn
