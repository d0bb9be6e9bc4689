"""Small generated volumes with dense labels, in plain, oblique and flipped geometries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SparseSegLib.image import Geometry, Volume

SHAPE = (20, 32, 40)


@dataclass(frozen=True)
class Phantom:
    """A volume of one channel and its dense labels, (Z, Y, X) uint8."""

    volume: Volume
    labels: np.ndarray


def oblique_geometry(shape: tuple[int, int, int] = SHAPE) -> Geometry:
    """Return an anisotropic grid turned about two axes, away from the physical zero."""
    a, b = np.radians([25.0, -10.0])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return Geometry(shape, (2.5, 0.8, 0.7), (-31.5, 12.25, 140.0), tuple((about_z @ about_x).ravel()))


def flipped_geometry(shape: tuple[int, int, int] = SHAPE) -> Geometry:
    """Return an anisotropic left-handed grid: x and y swapped, z downwards and y flipped."""
    return Geometry(shape, (3.0, 1.0, 0.5), (10.0, -20.0, 30.0), (0, -1, 0, 1, 0, 0, 0, 0, -1))


GEOMETRIES = {
    "identity": Geometry.identity(SHAPE),
    "anisotropic": Geometry(SHAPE, (4.0, 0.5, 0.75), (5.0, 6.0, -7.0)),
    "flipped": flipped_geometry(),
    "oblique": oblique_geometry(),
}


def blob(geometry: Geometry | None = None, *, noise: float = 0.1, seed: int = 0) -> Phantom:
    """Return a bright, slightly bumpy ellipsoid (label 1) on a dark ground."""
    geometry = geometry or GEOMETRIES["identity"]
    z, y, x = _coordinates(geometry)
    radius = np.sqrt(z**2 + y**2 + x**2) + 0.05 * np.sin(6 * x) * np.cos(5 * y)
    labels = (radius < 0.6).astype(np.uint8)
    return _phantom(labels, np.array([0.2, 0.8]), geometry, noise, seed)


def multi_class(geometry: Geometry | None = None, *, noise: float = 0.1, seed: int = 0) -> Phantom:
    """Return three structures: a shell (1) around a core (2), and a rod (3) along z beside them."""
    geometry = geometry or GEOMETRIES["identity"]
    z, y, x = _coordinates(geometry)
    radius = np.sqrt(z**2 + y**2 + (x + 0.25) ** 2)
    labels = np.zeros(geometry.shape, np.uint8)
    labels[radius < 0.65] = 1
    labels[radius < 0.35] = 2
    labels[((x - 0.7) ** 2 + y**2 < 0.04) & (np.abs(z) < 0.7)] = 3
    return _phantom(labels, np.array([0.1, 0.5, 0.9, 0.7]), geometry, noise, seed)


def pieces(*, noise: float = 0.1, seed: int = 0) -> Phantom:
    """Return one structure of three balls: one cut by the first slice of z, one by a corner, one in the midst."""
    geometry = Geometry.identity((24, 36, 40))
    places = np.stack(np.meshgrid(*(np.arange(size) for size in geometry.shape), indexing="ij"), -1)
    labels = np.zeros(geometry.shape, np.uint8)
    for center, radius in (((0, 12, 10), 7), ((23, 0, 39), 9), ((13, 26, 20), 7)):
        labels[np.linalg.norm(places - np.array(center), axis=-1) < radius] = 1
    return _phantom(labels, np.array([0.2, 0.8]), geometry, noise, seed)


def _coordinates(geometry: Geometry) -> list[np.ndarray]:
    """Return z, y, x that run from -1 to 1 over the grid."""
    return np.meshgrid(*(np.linspace(-1, 1, n) for n in geometry.shape), indexing="ij")


def _phantom(labels: np.ndarray, values: np.ndarray, geometry: Geometry, noise: float, seed: int) -> Phantom:
    grain = np.random.default_rng(seed).normal(0, noise, labels.shape)
    return Phantom(Volume((values[labels] + grain).astype(np.float32), geometry, "phantom"), labels)
