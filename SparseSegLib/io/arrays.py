"""From a SimpleITK image to an array with its channels first."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from SparseSegLib.image.large_array import copy_of

_WRITTEN_AS: dict[np.dtype, np.dtype] = {np.dtype(bool): np.dtype(np.uint8), np.dtype(np.float16): np.dtype(np.float32)}


def written_type(dtype: Any) -> np.dtype:
    """Return the type in which voxels are written: bool becomes uint8 and float16 float32, in native byte order."""
    native: np.dtype = np.dtype(dtype).newbyteorder("=")
    return _WRITTEN_AS.get(native, native)


def to_array(image: sitk.Image, dtype: Any = None) -> np.ndarray:
    """Return a 3D SimpleITK image as a (C, Z, Y, X) array of its own, in its voxel type unless another is given."""
    view = sitk.GetArrayViewFromImage(image)
    view = np.moveaxis(view, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else view.reshape((1, *view.shape[:3]))
    return copy_of(view, dtype)
