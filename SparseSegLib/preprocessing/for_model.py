"""A volume as a model wants it, as its card says."""

from __future__ import annotations

import torch

from SparseSegLib.geometry import Geometry
from SparseSegLib.models.card import Preprocessing
from SparseSegLib.preprocessing.bias_field import correct_bias_field
from SparseSegLib.preprocessing.grid import prepare, working_grid
from SparseSegLib.volume import Volume


def prepare_for(volume: Volume, preprocessing: Preprocessing) -> tuple[torch.Tensor, Geometry]:
    """The image ``(C, Z, Y, X)`` float32 that the network sees, over the whole field of view, and its grid.

    Corrects the bias field where the card says so, then turns, resamples and normalizes.
    """
    if preprocessing.bias_field == "n4":
        volume = correct_bias_field(volume)
    grid = working_grid(volume.geometry, preprocessing.spacing)
    return prepare(volume, grid, preprocessing.normalization), grid
