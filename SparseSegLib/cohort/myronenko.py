"""The learner of the paper that won the brain tumor challenge (Myronenko 2018)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.cohort.learner import CohortLearner
from SparseSegLib.patches import within
from SparseSegLib.training.losses import region_dice, vnet_dice

WEIGHT_DECAY = 1e-5
SCALES = (0.9, 1.1)
SHIFTS = (-0.1, 0.1)  # in standard deviations, which are 1 after the normalization over non-zero voxels


class MyronenkoLearner(CohortLearner):
    """Trains as Myronenko 2018 does (sections 3.4 to 3.7): Adam with weight decay as L2, on the network's objective.

    Patches lie within their volume and are only mirrored, unless ``flips`` are not wanted; each channel's gray values
    are scaled and shifted, both drawn evenly. A network without an objective of its own learns from the paper's Dice.
    The weights that predict are those of the last step, not averaged ones.
    """

    averaging = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.augmentation = replace(self.augmentation, rotation=0.0, scaling=0.0, gray=0.0, deformation_deviation=0.0)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=WEIGHT_DECAY)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One minus the Dice 2·Σpg / (Σp² + Σg²) over the labeled voxels, summed over the structures."""
        return (self.classes - 1) * vnet_dice(logits, labels)

    def region_loss(self, logits: torch.Tensor, truth: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The same of regions."""
        return region_dice(logits, truth, labels != UNLABELED)

    def center(self, number: int) -> tuple[float, float, float]:
        """(z, y, x) of the middle of a patch that lies within the volume, on its voxels."""
        patch = np.array(self.recipe.patch)
        start = np.round(within(super().center(number), self.recipe.patch, self.labels[number].shape) - (patch - 1) / 2)
        z, y, x = (start + (patch - 1) / 2).tolist()
        return z, y, x

    def vary(self, image: torch.Tensor) -> torch.Tensor:
        """Scale and shift the gray values of each channel of ``(B, C, z, y, x)`` (section 3.6)."""
        shape = (*image.shape[:2], 1, 1, 1)
        scale, shift = (
            low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)
            for low, high in (SCALES, SHIFTS)
        )
        return image * scale + shift
