"""Distances between the surfaces of two objects, in mm."""

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
    box = ndimage.find_objects((first | second).astype(np.uint8))[0]
    edges = [mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (first, second)]
    there, back = (
        ndimage.distance_transform_edt(~other, sampling=spacing)[own]
        for own, other in ((edges[0], edges[1]), (edges[1], edges[0]))
    )
    return SurfaceDistances(
        float(max(there.max(), back.max())),
        float(max(np.percentile(there, 95), np.percentile(back, 95))),
        float((there.sum() + back.sum()) / (there.size + back.size)),
    )
