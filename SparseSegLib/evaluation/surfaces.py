"""How well the surfaces of two objects agree: distances in mm, and surface Dice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm; NaN where one of the two objects is empty.

    Attributes
    ----------
    hausdorff : the largest distance from a surface voxel of either object to the other's surface
    hausdorff95 : the larger of the two directions' 95th percentiles
    average : mean over the surface voxels of both objects (average symmetric surface distance)
    """

    hausdorff: float
    hausdorff95: float
    average: float


def surface_distances(first: np.ndarray, second: np.ndarray, spacing: tuple[float, float, float]) -> SurfaceDistances:
    """Compare the surfaces of two masks ``(Z, Y, X)``; ``spacing`` is (z, y, x) in mm.

    The surface of an object is its voxels with a face neighbor outside of it (the volume's border counts as outside);
    distances are measured between voxel centers.
    """
    if not first.any() or not second.any():
        return SurfaceDistances(np.nan, np.nan, np.nan)
    box = _box(first | second)
    edges = [_surface(mask[box]) for mask in (first, second)]
    there, back = (
        ndimage.distance_transform_edt(~other, sampling=spacing)[own]
        for own, other in ((edges[0], edges[1]), (edges[1], edges[0]))
    )
    return SurfaceDistances(
        float(max(there.max(), back.max())),
        float(max(np.percentile(there, 95), np.percentile(back, 95))),
        float((there.sum() + back.sum()) / (there.size + back.size)),
    )


def surface_dice(
    first: np.ndarray, second: np.ndarray, spacing: tuple[float, float, float], where: np.ndarray | None = None
) -> float:
    """Normalized surface Dice: the share of both surfaces that is no more than a voxel from the other one, 0 to 1.

    The masks ``(Z, Y, X)`` have surfaces as in :func:`surface_distances`. Voxels of them in the mask ``where``
    ``(Z, Y, X)`` count, by default all; the distance is to the whole other surface. The tolerance is the middle one of
    the three spacings (z, y, x) in mm: in-plane, where slices are thick. 1 if no surface counts, 0 if one of the
    objects is empty. (Nikolov et al. 2018, arXiv:1809.04430, for elements of the surface.)
    """
    if not first.any() and not second.any():
        return 1.0
    box = _box(first | second)
    tolerance = 1.001 * sorted(spacing)[1]  # a voxel to the side is within it, whatever is rounded
    edges = [_surface(mask[box]) for mask in (first, second)]
    near = total = 0
    for own, other in (edges, edges[::-1]):
        counted = own if where is None else own & where[box]
        total += int(counted.sum())
        if other.any():
            distance = ndimage.distance_transform_edt(~other, sampling=spacing)
            near += int((distance[counted] <= tolerance).sum())
    return near / total if total else 1.0


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """The bounding box of a mask that is not empty."""
    return ndimage.find_objects(mask.astype(np.uint8))[0]


def _surface(mask: np.ndarray) -> np.ndarray:
    """The voxels with a face neighbor outside of the mask; the array's border counts as outside."""
    return mask & ~ndimage.binary_erosion(mask)
