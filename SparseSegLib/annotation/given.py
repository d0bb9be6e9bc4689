"""Labels as other libraries hold them, taken as sparse labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SparseSegLib.annotation.build import sparse_labels_from_segments
from SparseSegLib.annotation.find import find_planes, is_dense
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.annotation.values import check_structures, encoded, values_in
from SparseSegLib.errors import AnnotationError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.image.given import Image, beside, grid_of, voxels
from SparseSegLib.io import default_segment


def as_labelmap(labels: Image, image: Image = None) -> tuple[np.ndarray, Geometry]:
    """Return labels as integers (Z, Y, X), and their grid.

    Parameters
    ----------
    labels : SimpleITK image, nibabel image, Volume or array
    image : what they are labels of; an array has its axes and its grid

    Raises
    ------
    VolumeError
        If they have several channels, or are not whole numbers.
    """
    if image is not None:
        labels = beside(labels, image)
    array, geometry = voxels(labels), grid_of(labels)
    if len(array) != 1:
        raise VolumeError(f"The labels have {len(array)} channels.", "Give a labelmap, with one value per voxel.")
    found = array[0]
    if found.dtype.kind == "f":
        if not np.isfinite(found).all() or (found != np.rint(found)).any():
            raise VolumeError("The labels are not whole numbers.", "Give a labelmap; threshold probabilities first.")
        return found.astype(np.int64), geometry
    return found.astype(np.uint8) if found.dtype == bool else found, geometry


def as_sparse_labels(labels: Image | SparseLabels, image: Image) -> SparseLabels:
    """Return labels of an image as sparse labels on its grid.

    As in files, 255 is unlabeled; where there is none, the annotated slices are those that were drawn slice by slice
    (see `find_planes`), and all else is unlabeled. Labels that cover a part of the image are put in their place.

    Parameters
    ----------
    labels : SparseLabels (which come back as they are), SimpleITK image, nibabel image, Volume or array
    image : what they are labels of

    Raises
    ------
    AnnotationError
        If they are dense, so that the annotated slices are not known; if values are no structures'.
    GeometryError
        If they lie on another grid.
    VolumeError
        If they are no labels.
    """
    if isinstance(labels, SparseLabels):
        return labels
    raw, geometry = as_labelmap(labels, image)
    values = tuple(value for value in values_in(raw) if value not in (0, UNLABELED))
    check_structures(values, "The labelmap")
    codes = {0: 0, UNLABELED: UNLABELED, **{value: number for number, value in enumerate(values, start=1)}}
    array = encoded(raw, codes)
    if is_dense(array):
        raise AnnotationError(
            "The labels are dense: nothing says which slices were annotated.",
            "Set voxels off the annotated slices to 255, or make a sparse annotation of them with sparsify.",
        )
    planes = tuple(find_planes(array))
    explicit = bool((array == UNLABELED).any())
    found = SparseLabels(array, geometry, planes) if explicit else sparse_labels_from_segments(array, geometry, planes)
    names = tuple(default_segment(value).name for value in values)
    return on_grid(replace(found, names=names, values=values), grid_of(image), "The labelmap").compact()
