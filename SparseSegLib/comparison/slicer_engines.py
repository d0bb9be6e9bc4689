"""The engines of Slicer's *Fill between slices* and *Grow from seeds*, from the PyPI package slicer-core.

They run in a Python process of their own: slicer-core loaded beside other native libraries can bring the process down
when it ends, and a comparison must not do that to the command that runs it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.errors import DependencyError, JobError
from SparseSegLib.files import TemporaryFolder
from SparseSegLib.image import Box

CHILD = Path(__file__).with_name("slicer_child.py")


def fill_between_slices(
    image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float], region: Box
) -> np.ndarray:
    """Slicer's *Fill between slices*: ITK's morphological contour interpolation of the drawn segments.

    It ignores the image. ``labels`` is ``(Z, Y, X)`` with ``UNLABELED``; the result has a class everywhere.
    """
    drawn = np.where(labels[region] == UNLABELED, 0, labels[region]).astype(np.uint8)
    return _run("fill", image[region], drawn, spacing)


def grow_from_seeds(
    image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float], region: Box
) -> np.ndarray:
    """Slicer's *Grow from seeds*: the fast grow-cut of all labeled voxels, background being a segment too.

    The engine leaves the outermost voxels of its input alone, so the region gets a frame that is cut off again.
    """
    image = np.pad(image[region], 1, mode="edge")
    labels = np.pad(labels[region], 1, constant_values=UNLABELED)
    background = int(labels[labels != UNLABELED].max()) + 1
    seeds = np.where(labels == UNLABELED, 0, np.where(labels == 0, background, labels)).astype(np.int16)
    grown = _run("grow", image, seeds, spacing)[1:-1, 1:-1, 1:-1]
    return np.where(grown == background, 0, grown).astype(np.uint8)


def _run(engine: str, image: np.ndarray, seeds: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Run an engine in a child process; DependencyError if slicer-core is not installed."""
    if importlib.util.find_spec("slicer") is None:
        raise DependencyError(
            "Slicer's engines are not installed.", 'Install them with: pip install "SparseSegLib[slicer]"'
        )
    with TemporaryFolder() as folder:
        given, found = folder.path / "in.npz", folder.path / "out.npy"
        np.savez(given, image=image.astype(np.float32), seeds=seeds, spacing=spacing)
        command = [sys.executable, str(CHILD), engine, str(given), str(found)]
        child = subprocess.run(command, capture_output=True, text=True, check=False)
        if not found.exists():  # the exit status says nothing: it may be that of the crash at the very end
            raise JobError(f"Slicer's engine failed: {child.stderr[-500:]}")
        return np.load(found)
