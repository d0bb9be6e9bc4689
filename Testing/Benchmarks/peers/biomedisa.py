"""Biomedisa's smart interpolation (Lösel et al. 2020): random walks from the annotated slices, weighted by gray values.

It runs as its authors set it up for slices of several orientations: ``allaxis``, ten walks of 4000 steps from every
voxel of the slices, no smoothing. Here the walks are computed by OpenCL on the CPU, with pocl.

What is not drawn on is 0, and a slice counts as annotated where something is drawn on it; the rest of such a slice is
background to Biomedisa. The background gets a value of its own here, so that a slice without any object counts too.
Biomedisa refuses slices that touch: of two neighbors the second is left out.

Like the other peers it sees the region of interest. The whole volume gives its background more room, and takes several
times as long: on a prostate with 3, 3 and 2 slices IoU 0.736 instead of 0.699, on a hippocampus 0.174 instead of 0.212.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels
from SparseSegLib.errors import DependencyError, ResourceError
from SparseSegLib.image import Volume

PLATFORM = "opencl_Portable_CPU"  # pocl is the Portable Computing Language


def segment(volume: Volume, labels: SparseLabels, seconds: float, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Interpolate the first channel; the classes ``(Z, Y, X)`` uint8, and how many slices were left out.

    The walks take as long as they take, and draw the same numbers each time: ``seconds`` and ``seed`` change nothing.
    DependencyError if Biomedisa, mpi4py with an MPI, or pyopencl with pocl is not installed.
    """
    try:
        import pyopencl  # noqa: F401
        from biomedisa.interpolation import smart_interpolation
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError) as error:  # the latter: mpi4py finds no MPI
        raise DependencyError(
            "Biomedisa is not installed.", "Install it with: pip install -r Testing/Benchmarks/peers/requirements.txt"
        ) from error
    planes = spaced(labels.planes)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        results = smart_interpolation(volume.array[0], drawn(labels, planes), allaxis=True, platform=PLATFORM)
    if results is None:
        raise ResourceError("Biomedisa failed.", said.getvalue().strip())
    classes = results["regular"].astype(np.int16) - 1
    return classes.clip(min=0).astype(np.uint8), {"slices_left_out": len(labels.planes) - len(planes)}


def spaced(planes: tuple[Plane, ...]) -> tuple[Plane, ...]:
    """The planes without those that follow one that is kept."""
    kept: list[Plane] = []
    for plane in sorted(planes):
        if Plane(plane.axis, plane.index - 1) not in kept:
            kept.append(plane)
    return tuple(kept)


def drawn(labels: SparseLabels, planes: tuple[Plane, ...]) -> np.ndarray:
    """The input of Biomedisa, ``(Z, Y, X)`` int32: 0 off the planes, and class ``k`` as ``k + 1``."""
    array = labels.only(planes).array
    return np.where(array == UNLABELED, 0, array.astype(np.int32) + 1)
