"""Preprocessing of a volume for a model, by its card."""

from __future__ import annotations

import math

import torch

from SparseSegLib.errors import ModelError
from SparseSegLib.image import Box, Geometry, Volume
from SparseSegLib.models.card import Preprocessing
from SparseSegLib.preprocessing.bias_field import correct_bias_field
from SparseSegLib.preprocessing.conform import centered
from SparseSegLib.preprocessing.grid import prepare, working_grid
from SparseSegLib.units import lengths_text

MOST_TIMES = 100  # as many voxels on the model's grid as in the volume
FEW = 1_000_000  # voxels of a volume below which that does not matter


def prepare_for(volume: Volume, preprocessing: Preprocessing) -> tuple[torch.Tensor, Geometry]:
    """The image ``(C, Z, Y, X)`` float32 for the network, over the field of view that it sees, and its grid.

    Corrects the bias field if the card has that, then reorients, resamples and normalizes. Raises ModelError if the
    spacing on the card is of another order than the volume's, such as micrometers for millimeters.
    """
    there, wanted = volume.geometry, preprocessing.spacing
    voxels = math.prod(there.shape)
    if voxels * math.prod(there.spacing) / math.prod(wanted) > MOST_TIMES * max(FEW, voxels):
        raise ModelError(
            f"The model works at {lengths_text(wanted[::-1])}, far finer than the volume's "
            f"{lengths_text(there.spacing[::-1])}.",
            "Choose a model for images of such a spacing, or correct the spacing of the volume.",
        )
    grid = working_grid(there, wanted)
    if preprocessing.field_of_view is not None:
        grid = grid.crop(_middle(grid, preprocessing.field_of_view))
    if preprocessing.bias_field == "n4":
        volume = correct_bias_field(volume)
    return prepare(volume, grid, preprocessing.normalization), grid


def _middle(grid: Geometry, size: tuple[float, float]) -> Box:
    """The box of ``size`` (y, x; mm) over all slices around the middle of a grid, or as much of it as there is."""
    depth, *sides = grid.shape
    y, x = (
        min(count, max(1, round(part / step))) for count, part, step in zip(sides, size, grid.spacing[1:], strict=True)
    )
    return centered(grid.shape, (depth, y, x))
