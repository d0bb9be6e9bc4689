"""A rehearsal: whatever is imported, loaded or compiled at its first use is there afterwards."""

from __future__ import annotations

import numpy as np
import torch

from SparseSegLib.annotation import Plane, SparseLabels, keep_planes
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import AdaptedRecipe, Request, UNet3DRecipe
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.settings import DensifySettings
from SparseSegLib.image import Geometry, Volume

SIDE = 32  # voxels


@torch.random.fork_rng(devices=[])
def rehearse(settings: DensifySettings, channels: int, device: torch.device) -> None:
    """Learn a small ball with the experts of ``settings``, for one step; about a second where nothing is there yet.

    Experts that are too slow for the first preview, 3D networks, do not take part.
    """
    recipes = [recipe for recipe in settings.recipes if not isinstance(recipe, UNet3DRecipe | AdaptedRecipe)]
    if not recipes:
        return
    volume, labels = _ball(channels)
    problem = make_problem(volume, labels, settings.margin, settings.most_voxels)
    ensemble = Ensemble(problem, recipes, settings.seed, device, seconds=settings.seconds, hold_out=False)
    if ensemble.trains:
        ensemble.step(1.0)
    ensemble.predict(Request.whole(problem, 4, quick=True), CancelToken())
    ensemble.predict_planes([Plane(0, SIDE // 2)], CancelToken())


def _ball(channels: int) -> tuple[Volume, SparseLabels]:
    """A bright ball, outlined on one slice of each orientation."""
    places = np.indices((SIDE, SIDE, SIDE)) - (SIDE - 1) / 2
    ball = (np.square(places).sum(0) < (SIDE / 4) ** 2).astype(np.uint8)
    geometry = Geometry.identity(ball.shape)
    drawn = keep_planes(ball, geometry, [Plane(axis, SIDE // 2) for axis in range(3)])
    image = np.repeat(ball[None], channels, 0).astype(np.float32)
    return Volume(image, geometry), drawn
