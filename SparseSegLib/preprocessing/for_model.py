"""A volume as a model wants it, as its card says."""

from __future__ import annotations

import math

import torch

from SparseSegLib.errors import ModelError
from SparseSegLib.geometry import Geometry
from SparseSegLib.models.card import Preprocessing
from SparseSegLib.preprocessing.bias_field import correct_bias_field
from SparseSegLib.preprocessing.grid import prepare, working_grid
from SparseSegLib.volume import Volume

MOST_TIMES = 100  # as many voxels on the model's grid as in the volume
FEW = 1_000_000  # voxels of a volume below which that does not matter


def prepare_for(volume: Volume, preprocessing: Preprocessing) -> tuple[torch.Tensor, Geometry]:
    """The image ``(C, Z, Y, X)`` float32 that the network sees, over the whole field of view, and its grid.

    Corrects the bias field where the card says so, then turns, resamples and normalizes. Raises ModelError if the
    spacing on the card is of another order than the volume's, such as micrometers for millimeters.
    """
    grid = working_grid(volume.geometry, preprocessing.spacing)
    if math.prod(grid.shape) > MOST_TIMES * max(FEW, math.prod(volume.geometry.shape)):
        raise ModelError(
            f"The model works at {_by_x(preprocessing.spacing)} mm, far finer than the volume's "
            f"{_by_x(volume.geometry.spacing)} mm.",
            "Choose a model for images of such a spacing, or correct the spacing of the volume.",
        )
    if preprocessing.bias_field == "n4":
        volume = correct_bias_field(volume)
    return prepare(volume, grid, preprocessing.normalization), grid


def _by_x(spacing: tuple[float, float, float]) -> str:
    """Millimeters as Slicer shows them, x first."""
    return " × ".join(f"{step:g}" for step in reversed(spacing))
