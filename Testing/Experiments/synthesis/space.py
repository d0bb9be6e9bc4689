"""The grid of a generated volume, with who decides on everything in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from Experiments.synthesis.fields import Size, Spacing, smooth_field

OBLONG = 0.3  # fraction of volumes with thick slices


@dataclass(frozen=True, eq=False)
class Space:
    """A grid, and who decides on everything."""

    size: Size
    spacing: Spacing
    rng: np.random.Generator

    @classmethod
    def random(cls, rng: np.random.Generator) -> Space:
        """Of some 40 000 to 800 000 voxels, 1 mm the finest."""
        if rng.random() < OBLONG:
            size, spacing = [*rng.integers((14, 56, 56), (36, 110, 110))], [rng.uniform(2, 6), 1.0, 1.0]
        else:
            size, spacing = [*rng.integers(36, 96, 3)], [1.0, 1.0, 1.0]
        first, second, third = rng.permutation(3)
        return cls(
            (int(size[first]), int(size[second]), int(size[third])),
            (float(spacing[first]), float(spacing[second]), float(spacing[third])),
            rng,
        )

    @property
    def extent(self) -> np.ndarray:
        """(z, y, x) mm."""
        return np.array(self.size) * self.spacing

    @property
    def narrow(self) -> float:
        """The shortest side, mm."""
        return float(self.extent.min())

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """z, y and x of every voxel, mm from the middle; each (Z, Y, X)."""
        lines = [(np.arange(part) - (part - 1) / 2) * step for part, step in zip(self.size, self.spacing, strict=True)]
        z, y, x = np.meshgrid(*lines, indexing="ij")
        return z, y, x

    def field(self, width: float) -> np.ndarray:
        """A smooth random field with knots ``width`` mm apart."""
        return smooth_field(self.size, self.spacing, max(width, 1.5), self.rng)

    def ellipsoid(self, radius: float, bump: float, center: np.ndarray | None = None) -> np.ndarray:
        """A field (Z, Y, X), positive inside an ellipsoid of about ``radius`` mm that is turned and bumpy."""
        if center is None:
            center = self.rng.uniform(-0.15, 0.15, 3) * self.extent
        axes = np.linalg.qr(self.rng.standard_normal((3, 3)))[0] / (radius * np.exp(self.rng.normal(0, 0.3, 3)))
        places = np.stack([line - middle for line, middle in zip(self.places, center, strict=True)], -1) @ axes
        inside = 1 - np.sqrt(np.square(places).sum(-1))
        return inside + bump * self.field(radius * self.rng.uniform(0.5, 1.2)) if bump else inside
