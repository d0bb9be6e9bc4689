"""From what is drawn to sparse labels: where "unlabeled" ends and "background" begins."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from SparseSegLib.annotation.checks import check_labelmap, check_planes
from SparseSegLib.annotation.planes import ObliquePlane, Plane
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.errors import GeometryError
from SparseSegLib.image import Geometry
from SparseSegLib.image.large_array import new_array


def sparse_labels_from_segments(
    labelmap: np.ndarray,
    geometry: Geometry,
    planes: Iterable[Plane],
    *,
    background: np.ndarray | None = None,
    oblique: Iterable[ObliquePlane] = (),
    names: tuple[str, ...] = (),
) -> SparseLabels:
    """Sparse labels of drawn segments.

    On the annotated planes every voxel outside the segments is background. Off them, the segments' voxels are labeled
    (scribbles) and so are background strokes; all else is unlabeled.

    Parameters
    ----------
    labelmap : (Z, Y, X) integers
        0 where no segment is, 1..n for the segments.
    geometry : Geometry
    planes : planes that the user declared finished
    background : (Z, Y, X) bool, optional
        Background strokes.
    oblique : finished planes that are oblique to the grid
    names : names of the segments 1..n

    Raises
    ------
    AnnotationError
        For more than 254 classes.
    GeometryError
        If the labelmap, the background strokes or a plane do not fit the grid.
    """
    check_labelmap(labelmap, geometry)
    planes = tuple(sorted(set(planes)))
    check_planes(planes, geometry)
    array = new_array(labelmap.shape, np.uint8, UNLABELED)
    for out, drawn in zip(array, labelmap, strict=True):
        np.copyto(out, drawn, where=drawn > 0, casting="unsafe")
    if background is not None:
        if background.shape != geometry.shape:
            raise GeometryError(f"Strokes of shape {background.shape} do not fit a grid of shape {geometry.shape}.")
        array[background.astype(bool) & (labelmap == 0)] = 0
    for plane in planes:
        array[plane.voxels] = labelmap[plane.voxels]
    oblique = tuple(oblique)
    for pose in oblique:
        mask = pose.mask(geometry)
        array[mask] = labelmap[mask]
    return SparseLabels(array, geometry, planes, names, oblique)
