"""Sparse annotations as people draw them: evenly spaced slices, chosen ones, parallel ones, scribbles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, keep_planes, sparsify, sparsify_every
from SparseSegLib.image import Geometry

COUNTS = ((1, 1, 1), (1, 1, 1), (2, 2, 1), (3, 3, 2), (3, 3, 2), (5, 5, 3), (2, 2, 2), (1, 1, 0), (2, 0, 0), (3, 0, 0))
PARALLEL, SCRIBBLED, ALSO_SCRIBBLED, CHOSEN = 0.22, 0.08, 0.12, 0.4  # fractions of the annotations
CENTRAL = (0.1, 0.9)  # of the structures' extent, where chosen slices lie
STROKE = (5, 30)  # voxels
NEAR = 8  # voxels around structures, where most strokes of background lie


def annotate(truth: np.ndarray, geometry: Geometry, rng: np.random.Generator) -> SparseLabels:
    """A random annotation of ``truth`` (Z, Y, X). Raises AnnotationError if it is empty."""
    names = tuple(f"structure {number}" for number in range(1, int(truth.max()) + 1))
    which = rng.random()
    if which < SCRIBBLED:
        return scribbled(_blank(truth, geometry, names), truth, rng)
    if which < SCRIBBLED + PARALLEL:
        axis = int(np.argmax(geometry.spacing)) if max(geometry.spacing) > 1.5 else int(rng.integers(3))
        drawn = sparsify_every(truth, geometry, int(rng.integers(4, 10)), axis, names)
    else:
        counts = COUNTS[rng.integers(len(COUNTS))]
        z, y, x = (int(counts[axis]) for axis in rng.permutation(3))
        if rng.random() < CHOSEN:
            drawn = keep_planes(truth, geometry, _chosen(truth, (z, y, x), rng), names)
        else:
            drawn = sparsify(truth, geometry, (z, y, x), names)
    return scribbled(drawn, truth, rng) if rng.random() < ALSO_SCRIBBLED else drawn


def scribbled(drawn: SparseLabels, truth: np.ndarray, rng: np.random.Generator) -> SparseLabels:
    """With strokes in the structures and around them, on a few slices across one axis."""
    array = drawn.array.copy()
    axis = int(rng.integers(3))
    there = np.unique(np.nonzero(truth)[axis])
    for index in rng.choice(there, min(len(there), int(rng.integers(2, 7))), replace=False) if len(there) else ():
        here = np.take(truth, index, axis)
        into = np.moveaxis(array, axis, 0)[index]
        near = ndimage.binary_dilation(here > 0, iterations=NEAR)
        for label in np.unique(here):
            places = np.argwhere((here == label) & near) if rng.random() < 0.8 else np.argwhere(here == label)
            for _ in range(int(rng.integers(1, 3)) if len(places) else 0):
                _stroke(into, here, places[rng.integers(len(places))], rng)
    return replace(drawn, array=array)


def _stroke(into: np.ndarray, here: np.ndarray, start: np.ndarray, rng: np.random.Generator) -> None:
    """A line that turns slowly, as far as it stays in the class where it starts."""
    place, angle, label = start.astype(float), rng.uniform(0, 2 * np.pi), here[tuple(start)]
    for _ in range(int(rng.integers(*STROKE))):
        row, column = np.round(place).astype(int)
        if not (0 <= row < here.shape[0] and 0 <= column < here.shape[1]) or here[row, column] != label:
            return
        into[row, column] = label
        angle += rng.normal(0, 0.3)
        place += (np.sin(angle), np.cos(angle))


def _chosen(truth: np.ndarray, counts: tuple[int, int, int], rng: np.random.Generator) -> list[Plane]:
    """Slices anywhere through the middle of the structures' extent."""
    planes = []
    for axis, (count, places) in enumerate(zip(counts, np.nonzero(truth), strict=True)):
        low, high = np.quantile(places, CENTRAL) if len(places) else (0, 0)
        planes += [Plane(axis, int(rng.integers(int(low), int(high) + 1))) for _ in range(count)]
    return planes


def _blank(truth: np.ndarray, geometry: Geometry, names: tuple[str, ...]) -> SparseLabels:
    return SparseLabels(np.full(truth.shape, UNLABELED, np.uint8), geometry, (), names)
