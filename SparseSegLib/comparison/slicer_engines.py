"""The engines of Slicer's *Fill between slices* and *Grow from seeds*, from the PyPI package slicer-core.

The only file of the engine that knows of Slicer; nothing but comparisons uses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.errors import DependencyError


def fill_between_slices(image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Slicer's *Fill between slices*: ITK's morphological contour interpolation of the drawn segments.

    It ignores the image. ``labels`` is ``(Z, Y, X)`` with ``UNLABELED``; the result holds a class everywhere.
    """
    slicer = _slicer()
    interpolator = slicer.vtkITKMorphologicalContourInterpolator()
    drawn = np.where(labels == UNLABELED, 0, labels).astype(np.uint8)
    interpolator.SetInputData(_to_vtk(drawn, spacing))
    interpolator.Update()
    return _from_vtk(interpolator.GetOutput())


def grow_from_seeds(image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Slicer's *Grow from seeds*: the fast grow-cut of all labeled voxels, background being a segment too."""
    slicer = _slicer()
    grow = slicer.vtkImageGrowCutSegment()
    background = int(labels[labels != UNLABELED].max()) + 1
    seeds = np.where(labels == UNLABELED, 0, np.where(labels == 0, background, labels)).astype(np.int16)
    grow.SetIntensityVolume(_to_vtk(np.ascontiguousarray(image, np.float32), spacing))
    grow.SetSeedLabelVolume(_to_vtk(seeds, spacing))
    grow.SetDistancePenalty(0.0)
    grow.Update()
    grown = _from_vtk(grow.GetOutput())
    return np.where(grown == background, 0, grown).astype(np.uint8)


def _slicer() -> Any:
    try:
        import slicer
    except ImportError as error:
        raise DependencyError(
            "Slicer's engines are not installed.", 'Install them with: pip install "SparseSegLib[slicer]"'
        ) from error
    return slicer


def _to_vtk(array: np.ndarray, spacing: tuple[float, float, float]) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.SetSpacing(*spacing[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    return image


def _from_vtk(image: Any) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    shape = image.GetDimensions()[::-1]
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape).astype(np.uint8)
