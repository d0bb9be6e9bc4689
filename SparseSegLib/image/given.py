"""Images as other libraries hold them: taken as volumes, and results given back as what was taken.

nibabel is never imported here unless the user did.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import UsageError, VolumeError
from SparseSegLib.image.geometry import Geometry
from SparseSegLib.image.volume import Volume

Image: TypeAlias = Any
"""A `Volume`, a SimpleITK image, a nibabel image, or an array (Z, Y, X) or (C, Z, Y, X) of voxels of 1 mm."""

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MILLIMETERS = {"meter": 1000.0, "micron": 0.001}


def as_volume(image: Image) -> Volume:
    """Return an image as a volume that lies in the same place.

    Parameters
    ----------
    image : Volume, SimpleITK image, nibabel image, or array (Z, Y, X) or (C, Z, Y, X)
        The axes of a nibabel image are exchanged (its arrays are (X, Y, Z)) and its RAS affine becomes LPS. An array
        alone says nothing of its spacing: ``Volume(array, Geometry.identity(array.shape, (3, 1, 1)))`` does. Several
        images in a list become channels, each resampled (linear) to the first one's grid.

    Returns
    -------
    Volume
        (C, Z, Y, X) float32; a `Volume` comes back as it is.

    Raises
    ------
    UsageError
        If it is none of these.
    VolumeError
        If it is 2D, a time series, or has colors or complex numbers.
    """
    if isinstance(image, list | tuple):
        return _stacked([as_volume(one) for one in image])
    if isinstance(image, Volume):
        return image
    return Volume(np.ascontiguousarray(voxels(image), np.float32), grid_of(image))


def grid_of(image: Image) -> Geometry:
    """Return the grid of an image, of several the first one's, without reading its voxels; raises as `as_volume`."""
    if isinstance(image, list | tuple) and image:
        return grid_of(image[0])
    if isinstance(image, Volume):
        return image.geometry
    if isinstance(image, sitk.Image):
        return Geometry.from_sitk(image)
    if _is_nibabel(image):
        return _nibabels_grid(image)
    if not isinstance(image, np.ndarray):
        raise UsageError(
            f"A {type(image).__name__} is no image.", "Give a SimpleITK or nibabel image, a NumPy array, or a Volume."
        )
    if image.ndim not in (3, 4):
        raise VolumeError(f"An array of shape {image.shape} is no volume.", "Give (Z, Y, X), or (C, Z, Y, X).")
    return Geometry.identity(image.shape[-3:])


def voxels(image: Image) -> np.ndarray:
    """Return an image's voxels (C, Z, Y, X) in their own type; raises as `as_volume`."""
    if isinstance(image, Volume):
        return image.array
    shape = grid_of(image).shape
    if isinstance(image, sitk.Image):
        array = sitk.GetArrayFromImage(image)
        array = array if array.ndim == 3 else np.moveaxis(array, -1, 0)
    elif _is_nibabel(image):
        array = np.asanyarray(image.dataobj).reshape(shape[::-1]).T
    else:
        array = image
    if array.dtype.kind not in "biuf":
        raise VolumeError(
            "The image has no gray values: its voxels are colors or complex numbers.", "Convert it to gray values."
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array.reshape(-1, *shape)


def beside(labels: Image, image: Image) -> Image:
    """Return labels of an image, which as an array alone have its axes and grid, as an image of their own."""
    if not isinstance(labels, np.ndarray):
        return labels
    first = image[0] if isinstance(image, list | tuple) and image else image
    return Volume(labels.T if _is_nibabel(first) else labels, grid_of(first))


def as_given(array: np.ndarray, geometry: Geometry, image: Image) -> Any:
    """Return a result (Z, Y, X) on the grid of an image as what that image is.

    A SimpleITK image for a SimpleITK image, a nibabel image (with its own affine) for a nibabel image, an array for an
    array; and a `Volume` for a `Volume`.
    """
    if isinstance(image, list | tuple):
        return as_given(array, geometry, image[0])
    if isinstance(image, sitk.Image):
        return geometry.to_sitk(array)
    if _is_nibabel(image):
        from nibabel.nifti1 import Nifti1Image

        result = Nifti1Image(np.asfortranarray(array.T), image.affine)
        result.header.set_xyzt_units(image.header.get_xyzt_units()[0] if _has_units(image) else "mm")
        return result
    return Volume(array, geometry) if isinstance(image, Volume) else array


def _is_nibabel(image: Any) -> bool:
    return hasattr(image, "dataobj") and hasattr(image, "affine")


def _has_units(image: Any) -> bool:
    return hasattr(getattr(image, "header", None), "get_xyzt_units")


def _nibabels_grid(image: Any) -> Geometry:
    if len(image.shape) < 3 or image.affine is None:
        raise VolumeError("The image is no volume that lies in space.", "Give an image of three axes with an affine.")
    if any(size > 1 for size in image.shape[3:]):
        raise VolumeError("The image is a time series (4D).", "Choose one frame of it, or give channels as a list.")
    unit = MILLIMETERS.get(image.header.get_xyzt_units()[0], 1.0) if _has_units(image) else 1.0
    affine = RAS_TO_LPS @ np.asarray(image.affine, float)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and lengths.all()):
        raise VolumeError("The affine of the image is no grid.", "Correct it, or export the image again.")
    x, y, z = (float(length) * unit for length in lengths)
    direction = tuple((affine[:3, :3] / lengths).ravel())
    return Geometry(image.shape[2::-1], (z, y, x), tuple(unit * affine[:3, 3]), direction)


def _stacked(volumes: list[Volume]) -> Volume:
    """Several volumes as the channels of one, on the first one's grid; beyond its own, each has its lowest value."""
    if not volumes:
        raise UsageError("No image was given.", "Give one or more.")
    grid = volumes[0].geometry
    arrays = [
        one.array if one.geometry.matches(grid) else one.resampled(grid, fill=float(np.nanmin(one.array))).array
        for one in volumes
    ]
    return Volume(np.concatenate(arrays), grid, volumes[0].name)
