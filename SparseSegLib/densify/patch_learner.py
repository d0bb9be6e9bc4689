"""The patch learner: a 3D network on patches of the image alone, as in the 3D U-Net paper (Çiçek et al. 2016)."""

from __future__ import annotations

from dataclasses import replace

import torch

from SparseSegLib.control import CancelToken
from SparseSegLib.densify.problem import Problem
from SparseSegLib.inference import predict_patches
from SparseSegLib.patches import LabeledImage, PatchRecipe, PatchTrainer, within


class PatchLearner(PatchTrainer):
    """Learns from patches around labeled voxels of one volume with SGD; predicts it with overlapping tiles.

    A network that pads sees in a patch where the volume ends. So its patches are no larger than the volume and lie
    within it, as its tiles will; they only hang over where chance turns or scales them.

    Parameters
    ----------
    problem : Problem
    recipe : PatchRecipe
    seed : int
    device : torch.device
    """

    def __init__(self, problem: Problem, recipe: PatchRecipe, seed: int, device: torch.device) -> None:
        super().__init__(recipe, len(problem.image), problem.classes, seed, device)
        self.pads = getattr(self.network, "padded", True)
        if self.pads:
            z, y, x = map(min, recipe.patch, problem.image.shape[1:])
            self.recipe = replace(recipe, patch=(z, y, x))
        self.replace(problem)

    def replace(self, problem: Problem) -> None:
        """Go on with another annotation of the same volume; weights and optimizer stay."""
        self.problem = problem
        self.learn_from([LabeledImage(problem.image, problem.labels.array)])

    def center(self, number: int) -> tuple[float, float, float]:
        """(z, y, x) of the middle of the next patch: a labeled voxel, or as near as the volume allows."""
        z, y, x = super().center(number)
        if self.pads:
            z, y, x = within((z, y, x), self.recipe.patch, self.images[number].shape[1:]).tolist()
        return z, y, x

    @torch.inference_mode()
    def predict(self, token: CancelToken, stride: int = 1, *, quick: bool = False) -> torch.Tensor:
        """Class probabilities ``(K, Z, Y, X)`` on the working grid; there is no quicker look here."""
        return predict_patches(
            self.averaged.network,
            self.images[0],
            classes=self.classes,
            patch=self.recipe.patch,
            device=self.device,
            check=token.check,
        )
