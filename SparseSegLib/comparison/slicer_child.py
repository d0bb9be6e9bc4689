"""A script that runs one of Slicer's engines: ``slicer_child.py fill|grow IN.npz OUT.npy``.

The only file that imports slicer; it imports nothing of SparseSeg.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np


def main() -> None:
    """Read image, seeds and spacing (z, y, x), run the engine, write its labels ``(Z, Y, X)``."""
    import slicer

    engine, given, found = sys.argv[1:]
    case = np.load(given)
    seeds = to_vtk(case["seeds"], case["spacing"])
    if engine == "fill":
        worker = slicer.vtkITKMorphologicalContourInterpolator()
        worker.SetInputData(seeds)
    else:
        worker = slicer.vtkImageGrowCutSegment()
        worker.SetIntensityVolume(to_vtk(case["image"], case["spacing"]))
        worker.SetSeedLabelVolume(seeds)
        worker.SetDistancePenalty(0.0)
    worker.Update()
    result = from_vtk(worker.GetOutput())
    np.save(found + ".part.npy", result)
    os.replace(found + ".part.npy", found)


def to_vtk(array: np.ndarray, spacing: np.ndarray) -> Any:
    """An image of the voxels ``(Z, Y, X)``."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.SetSpacing(*map(float, spacing[::-1]))
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
    return image


def from_vtk(image: Any) -> np.ndarray:
    """The voxels of an image as ``(Z, Y, X)`` uint8."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).astype(np.uint8)


if __name__ == "__main__":
    main()
