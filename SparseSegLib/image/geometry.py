"""The geometry of a volume's grid, and resampling between grids.

Voxel quantities (shape, spacing, index, box) are in array order (z, y, x); physical points are LPS mm in (x, y, z).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import GeometryError, ResourceError, VolumeError
from SparseSegLib.image.large_array import new_array

Box = tuple[slice, slice, slice]
"""A block of voxels, (z, y, x); each slice has an explicit start and stop and no step."""

Interpolation = Literal["linear", "nearest", "bspline"]

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor, "bspline": sitk.sitkBSpline}
_SMALLEST_SPACING, _LARGEST_SPACING, _LARGEST_ORIGIN = 1e-9, 1e6, 1e9  # mm
_UNIT = 1e-4  # how far the length of an axis may be from 1
_RIGHT_ANGLE = 1e-4  # the cosine up to which axes count as being at right angles
_BSPLINE_MINIMUM = 4  # voxels along an axis: what ITK's cubic spline needs


@dataclass(frozen=True)
class Geometry:
    """The grid of a volume.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    spacing : tuple of float
        Distance of neighboring voxel centers along (z, y, x), mm.
    origin : tuple of float
        LPS (x, y, z) of the center of voxel (0, 0, 0), mm.
    direction : tuple of float
        Nine numbers in SimpleITK's order: a row-major 3 x 3 matrix whose columns are the image axes x, y, z in LPS.

    Raises
    ------
    GeometryError
        If a size or spacing is not positive, the direction is singular, or a number is out of all proportion.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = _IDENTITY

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for field in ("spacing", "origin", "direction"):
            object.__setattr__(self, field, tuple(float(value) for value in getattr(self, field)))
        if tuple(len(v) for v in (self.shape, self.spacing, self.origin, self.direction)) != (3, 3, 3, 9):
            raise GeometryError("A geometry needs 3 sizes, 3 spacings, an origin of 3 and a direction of 9 numbers.")
        if min(self.shape) < 1:
            raise GeometryError(f"The grid is empty: {_by_x(self.shape)} voxels.")
        if not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise GeometryError(f"The voxel spacing {_by_x(self.spacing)} mm is not positive.")
        if not np.isfinite(self.origin).all() or not np.isfinite(self.direction).all():
            raise GeometryError("The origin or direction of the grid is not a number.")
        self._use_unit_axes()
        if not all(_SMALLEST_SPACING <= s <= _LARGEST_SPACING for s in self.spacing):
            raise GeometryError(f"The voxel spacing {_by_x(self.spacing)} mm is out of all proportion.")
        if max(map(abs, self.origin)) > _LARGEST_ORIGIN:
            raise GeometryError(f"The origin of the grid, {_by_x(self.origin[::-1])} mm, is out of all proportion.")
        if abs(np.linalg.det(self._matrix())) < 1e-6:
            raise GeometryError("The axes of the grid are not independent of each other.")

    def _use_unit_axes(self) -> None:
        """Take the length of axes that are no unit vectors into the spacing: the voxels stay where they are."""
        lengths = np.linalg.norm(self._matrix(), axis=0)
        if np.abs(lengths - 1).max() <= _UNIT or not lengths.all():
            return
        object.__setattr__(self, "direction", tuple(float(value) for value in (self._matrix() / lengths).ravel()))
        object.__setattr__(
            self, "spacing", tuple(float(s * n) for s, n in zip(self.spacing, lengths[::-1], strict=True))
        )

    @classmethod
    def identity(cls, shape: Sequence[int], spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Geometry:
        """Return a grid with its axes along LPS and voxel (0, 0, 0) at the physical zero."""
        return cls(tuple(shape), tuple(spacing))  # type: ignore[arg-type]

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Geometry:
        """Return the grid of a 3D SimpleITK image."""
        if image.GetDimension() != 3:
            raise VolumeError(f"The image has {image.GetDimension()} dimensions, and a volume needs 3.")
        return cls(image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection())

    def to_sitk(self, array: np.ndarray) -> sitk.Image:
        """Return a SimpleITK image on this grid; (Z, Y, X), or (C, Z, Y, X) for a vector image.

        Booleans become uint8 and float16 becomes float32, which SimpleITK lacks.
        """
        if array.ndim not in (3, 4) or array.shape[-3:] != self.shape:
            raise GeometryError(f"An array of shape {array.shape} does not fit a grid of shape {self.shape}.")
        array = _native(array)
        if array.ndim == 4:
            image = sitk.GetImageFromArray(np.moveaxis(array, 0, -1), isVector=True)
        else:
            image = sitk.GetImageFromArray(array)
        self.stamp(image)
        return image

    def stamp(self, image: sitk.Image) -> None:
        """Set the spacing, origin and direction of a SimpleITK image to this grid's."""
        image.SetSpacing(self.spacing[::-1])
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)

    def _matrix(self) -> np.ndarray:
        return np.asarray(self.direction).reshape(3, 3)

    def affine(self) -> np.ndarray:
        """Return the 4 x 4 matrix from a homogeneous (z, y, x) voxel index to LPS (x, y, z) mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self._matrix()[:, ::-1] * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    def index_to_physical(self, points: np.ndarray) -> np.ndarray:
        """Return the LPS (x, y, z) mm of (z, y, x) voxel indices; (N, 3) or (3,), indices may be fractional."""
        affine = self.affine()
        return np.asarray(points, dtype=float) @ affine[:3, :3].T + affine[:3, 3]

    def physical_to_index(self, points: np.ndarray) -> np.ndarray:
        """Return the fractional (z, y, x) voxel indices of LPS (x, y, z) mm; (N, 3) or (3,)."""
        affine = self.affine()
        return (np.asarray(points, dtype=float) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T

    def crop(self, box: Box) -> Geometry:
        """Return the grid of a block of voxels; the block may reach beyond this grid (padding)."""
        if any(part.start is None or part.stop is None or part.step not in (None, 1) for part in box):
            raise GeometryError("A box needs a start and a stop along each axis, and no step.")
        start = np.array([part.start for part in box])
        shape = tuple(part.stop - part.start for part in box)
        return Geometry(shape, self.spacing, tuple(self.index_to_physical(start)), self.direction)  # type: ignore[arg-type]

    def with_spacing(self, spacing: Sequence[float]) -> Geometry:
        """Return a grid of the given (z, y, x) spacing over the same field of view.

        The center of the field of view stays; its size stays to the nearest whole voxel, exactly where it divides.
        """
        new = np.asarray(spacing, dtype=float)
        if new.shape != (3,) or not (np.isfinite(new) & (new > 0)).all():
            raise GeometryError(f"The voxel spacing {tuple(spacing)} mm is not three positive numbers.")
        old = np.asarray(self.spacing)
        size = np.asarray(self.shape)
        shape = np.maximum(1, np.floor(size * old / new + 0.5)).astype(int)
        first = (size - 1) / 2 - (shape - 1) / 2 * new / old  # the new voxel (0, 0, 0) in old voxels
        return Geometry(tuple(shape), tuple(new), tuple(self.index_to_physical(first)), self.direction)

    def matches(self, other: Geometry, tolerance: float = 1e-3) -> bool:
        """Return whether both are the same grid: no corner lies more than ``tolerance`` voxels apart."""
        if self.shape != other.shape:
            return False
        corners = self._corners()
        return bool(np.abs(self.physical_to_index(other.index_to_physical(corners)) - corners).max() <= tolerance)

    def _corners(self) -> np.ndarray:
        return np.array(list(itertools.product(*((0, n) for n in self.shape))), dtype=float)

    def difference(self, other: Geometry) -> str:
        """Say in plain words how the other grid differs from this one; empty if it does not (for messages)."""
        if self.matches(other):
            return ""
        parts = []
        if self.shape != other.shape:
            parts.append(f"size {_by_x(other.shape)} instead of {_by_x(self.shape)} voxels")
        if not np.allclose(self.spacing, other.spacing, rtol=1e-4):
            parts.append(f"spacing {_by_x(other.spacing)} instead of {_by_x(self.spacing)} mm")
        turn = _angle(self._matrix(), other._matrix())
        if turn > 0.01:
            parts.append(f"axes turned by {turn:.3g} degrees" if turn < 179.9 else "axes flipped")
        elif turn < 0:
            parts.append("axes mirrored")
        shift = float(np.linalg.norm(np.subtract(self.origin, other.origin)))
        if shift > 1e-3 * min(self.spacing) or not parts:
            parts.append(f"origin {shift:.4g} mm away")
        return ", ".join(parts)


def at_right_angles(matrix: np.ndarray) -> bool:
    """Return whether the columns of a 3 x 3 matrix are at right angles, but for what rounding in headers explains."""
    axes = matrix / np.linalg.norm(matrix, axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= _RIGHT_ANGLE)


def _by_x(values: Sequence[float]) -> str:
    """Write (z, y, x) numbers with x first."""
    return " x ".join(f"{value:.6g}" for value in reversed(values))


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle between two sets of axes in degrees, or -1 if one mirrors the other."""
    rotation = a.T @ b
    if np.linalg.det(rotation) < 0:
        return -1.0
    # The sine and cosine together: the cosine alone cannot resolve angles below 1e-6.
    sine = np.linalg.norm(rotation - rotation.T) / (2 * np.sqrt(2))
    return float(np.degrees(np.arctan2(sine, (np.trace(rotation) - 1) / 2)))


def _native(array: np.ndarray) -> np.ndarray:
    """Return the array in a type and byte order that SimpleITK supports."""
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def resample(
    array: np.ndarray, source: Geometry, target: Geometry, *, order: Interpolation = "linear", fill: float = 0
) -> np.ndarray:
    """Return one channel on another grid.

    Parameters
    ----------
    array : np.ndarray
        (Z, Y, X) on the source grid.
    source, target : Geometry
        The grids; any orientation.
    order : str
        "nearest" keeps the type and the values (labels); "linear" and "bspline" (cubic) return float32, or float64
        for float64. A volume of fewer than 4 voxels along an axis is interpolated linearly instead of cubically.
    fill : number
        The value of voxels whose center lies outside the source's field of view.

    Returns
    -------
    np.ndarray
        (Z, Y, X) on the target grid, always a copy.
    """
    if order not in _INTERPOLATORS:
        raise ValueError(f"Unknown interpolation {order!r}; known are {', '.join(_INTERPOLATORS)}.")
    if order != "nearest" and array.dtype != np.float64:
        array = array.astype(np.float32, copy=False)
    if whole_voxel_offset(source, target) is not None:
        return place(array, source, target, fill=fill)
    if order == "bspline" and min(source.shape) < _BSPLINE_MINIMUM:
        order = "linear"
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(target.shape[::-1])
    resampler.SetOutputSpacing(target.spacing[::-1])
    resampler.SetOutputOrigin(target.origin)
    resampler.SetOutputDirection(target.direction)
    resampler.SetInterpolator(_INTERPOLATORS[order])
    resampler.SetDefaultPixelValue(float(fill))
    try:
        result = sitk.GetArrayFromImage(resampler.Execute(source.to_sitk(array)))
    except RuntimeError as error:
        if "allocate" not in str(error):
            raise
        raise ResourceError(
            f"There is not enough memory for {_by_x(target.shape)} voxels.", "Close other programs, or crop the volume."
        ) from error
    return result.astype(array.dtype, copy=False)


def whole_voxel_offset(source: Geometry, target: Geometry, tolerance: float = 1e-2) -> tuple[int, int, int] | None:
    """Return the (z, y, x) index in the target of the source's voxel (0, 0, 0), or None if the grids do not align.

    Grids align when one is the other moved by whole voxels, so that an array goes over without interpolation.
    """
    corners = source._corners()
    offsets = target.physical_to_index(source.index_to_physical(corners)) - corners
    whole = np.round(offsets[0])
    if np.abs(offsets - whole).max() > tolerance:
        return None
    return tuple(int(n) for n in whole)  # type: ignore[return-value]


def place(array: np.ndarray, source: Geometry, target: Geometry, *, fill: float = 0) -> np.ndarray:
    """Return labels (Z, Y, X) on another grid: copied voxel by voxel where the grids align, else nearest neighbor.

    What lies outside the target is cut off; target voxels that the source does not cover get ``fill``.
    """
    if array.shape != source.shape:
        raise GeometryError(f"An array of shape {array.shape} does not fit a grid of shape {source.shape}.")
    offset = whole_voxel_offset(source, target)
    if offset is None:
        return resample(array, source, target, order="nearest", fill=fill)
    result = new_array(target.shape, array.dtype, fill)
    into, out_of = [], []
    for start, size, target_size in zip(offset, source.shape, target.shape, strict=True):
        low, high = max(0, start), min(target_size, start + size)
        into.append(slice(low, max(low, high)))
        out_of.append(slice(low - start, max(low, high) - start))
    result[tuple(into)] = array[tuple(out_of)]
    return result
