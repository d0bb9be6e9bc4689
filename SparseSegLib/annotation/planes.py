"""Annotated planes: on the voxel grid, or oblique to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SparseSegLib.image import Geometry


@dataclass(frozen=True, order=True)
class Plane:
    """A slice of a volume: the voxels whose index along ``axis`` (0, 1, 2 for z, y, x) is ``index``."""

    axis: int
    index: int

    @property
    def voxels(self) -> tuple[slice | int, slice | int, slice | int]:
        """An index that takes the plane out of a ``(Z, Y, X)`` array."""
        z, y, x = (self.index if axis == self.axis else slice(None) for axis in range(3))
        return z, y, x


@dataclass(frozen=True)
class ObliquePlane:
    """A plane that is oblique to the volume, by a ``point`` and a unit ``normal`` in LPS mm (x, y, z)."""

    point: tuple[float, float, float]
    normal: tuple[float, float, float]

    def mask(self, geometry: Geometry) -> np.ndarray:
        """Voxels ``(Z, Y, X)`` whose center lies within half a voxel of the plane, measured along its normal."""
        affine = geometry.affine()
        normal = np.asarray(self.normal) / np.linalg.norm(self.normal)
        along = normal @ affine[:3, :3]  # mm along the normal for one voxel along z, y, x
        start = normal @ (affine[:3, 3] - np.asarray(self.point))
        z, y, x = (np.arange(size) * step for size, step in zip(geometry.shape, along, strict=True))
        distance = start + z[:, None, None] + y[None, :, None] + x[None, None, :]
        return np.abs(distance) <= np.linalg.norm(along) / 2
