"""Generated images like the papers' own data: chest radiographs, and tumors of nested regions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RADIOGRAPH_SIZE = 256  # pixels, of the thesis's images; other sizes are the same pictures, coarser
STRUCTURES = ("lungs", "heart", "clavicles")


def radiograph(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A chest radiograph ``(Y, X)`` float32 and its labels: 1 lungs, 2 heart, 3 clavicles.

    Every patient has another size, shape and place of everything; ribs, a spine and grain make it harder.
    """
    y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    x = x + 0.06 * rng.normal() + 0.04 * np.sin(3 * y + rng.uniform(0, 6))
    y = y + 0.06 * rng.normal() + 0.04 * np.sin(3 * x + rng.uniform(0, 6))
    labels = np.zeros((size, size), np.uint8)
    for side in (-1, 1):
        wide, high = 0.3 * np.exp(0.1 * rng.normal()), 0.62 * np.exp(0.08 * rng.normal())
        labels[((x - side * 0.45) / wide) ** 2 + (np.abs(y) / high) ** 2.5 < 1] = 1
    heart = rng.uniform(0.24, 0.32), rng.uniform(0.22, 0.3)
    labels[((x - 0.12) / heart[0]) ** 2 + ((y - 0.3) / heart[1]) ** 2 < 1] = 2
    for side in (-1, 1):
        tilt, thick = rng.uniform(0.1, 0.4), rng.uniform(0.045, 0.06)
        bone = (np.abs(y + 0.55 + tilt * (side * x - 0.4)) < thick) & (np.abs(side * x - 0.4) < 0.32)
        labels[bone] = 3
    image = np.array([0.55, 0.25, 0.75, 0.62])[labels]
    image += 0.06 * (np.sin(22 * (y + 0.35 * np.abs(x)) + rng.uniform(0, 6)) > 0.4)  # ribs
    image += 0.15 * np.exp(-((x / 0.08) ** 2))  # the spine
    image += ndimage.gaussian_filter(rng.normal(0, 1, image.shape), size / 8) * size / 12 * 0.1
    image = ndimage.gaussian_filter(image, size / RADIOGRAPH_SIZE) + rng.normal(0, 0.08, image.shape)
    return ((image - image.mean()) / image.std()).astype(np.float32), labels


def tumor(shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four channels ``(4, Z, Y, X)`` float32 of a head with a tumor, zero outside, and labels of nested regions.

    1 is edema, 2 the rest of the core, 3 the enhancing part. Each channel shows other regions, under noise and an
    uneven field of its own.
    """
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    head = z**2 + y**2 + x**2 < 0.9
    center = rng.uniform(-0.35, 0.35, 3)
    bumps = ndimage.gaussian_filter(rng.normal(0, 1, shape), 3)
    bumps *= 0.1 / bumps.std()
    stretch = np.exp(0.2 * rng.normal(size=3))
    away = np.sqrt(sum(((axis - at) * by) ** 2 for axis, at, by in zip((z, y, x), center, stretch, strict=True)))
    whole = rng.uniform(0.35, 0.55)
    labels = np.zeros(shape, np.uint8)
    for value, part in enumerate((1.0, rng.uniform(0.55, 0.7), rng.uniform(0.3, 0.45)), start=1):
        labels[(away + bumps < part * whole) & head] = value
    tissue = 0.3 * (ndimage.gaussian_filter(rng.normal(0, 1, shape), 2) > 0)
    contrasts = ((-0.2, -0.3, -0.1), (-0.1, 0.0, 0.8), (0.7, 0.5, 0.5), (0.8, 0.7, 0.8))
    channels = []
    for contrast in contrasts:  # T1, T1c, T2, FLAIR
        strength = np.array([0.0, *contrast]) * rng.uniform(0.6, 1.2)
        field = ndimage.gaussian_filter(rng.normal(0, 1, shape), min(shape) / 4)
        image = 2 + rng.uniform(-1, 1) * tissue + strength[labels] + 0.2 * field / field.std()
        channels.append(np.where(head, image + rng.normal(0, 0.3, shape), 0))
    return np.stack(channels).astype(np.float32), labels
