"""From a SimpleITK image to an array with its channels first."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk


def to_array(image: sitk.Image, dtype: Any = None) -> np.ndarray:
    """Return a 3D SimpleITK image as a (C, Z, Y, X) array of its own, in its voxel type unless another is given."""
    view = sitk.GetArrayViewFromImage(image)
    view = np.moveaxis(view, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else view.reshape((1, *view.shape[:3]))
    return np.array(view, dtype=dtype or view.dtype, order="C")
