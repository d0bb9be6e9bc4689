"""The learner of the V-Net paper (Milletari et al., 3DV 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.augmentation import deform, match_histograms, quantile_tables
from SparseSegLib.cohort.learner import CohortLearner
from SparseSegLib.patches import LabeledImage, within
from SparseSegLib.training.losses import (
    batch_weights,
    region_cross_entropy,
    region_dice,
    vnet_dice,
    weighted_cross_entropy,
)

MOMENTUM = 0.99


class MilletariLearner(CohortLearner):
    """Trains as Milletari et al. 2016 do (sections 3.1 and 4): SGD with momentum 0.99 on the Dice loss.

    A volume no larger than the patch is seen whole. Every patch gets the histogram of another training volume, chosen
    at random, and is deformed by B-splines on a control grid of 2×2×2 cells with a standard deviation of 15 voxels.
    Nothing else is changed at random, not even mirrored without ``flips``. The weights that predict are those of the
    last step, not averaged ones.
    """

    averaging = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.augmentation = replace(self.augmentation, rotation=0.0, scaling=0.0, gray=0.0, deformation_deviation=0.0)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent with momentum."""
        return torch.optim.SGD(self.network.parameters(), lr=self.recipe.learning_rate, momentum=MOMENTUM)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One minus V-Net's Dice over the labeled voxels; no weights of classes."""
        return vnet_dice(logits, labels)

    def region_loss(self, logits: torch.Tensor, truth: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The same of regions."""
        return region_dice(logits, truth, labels != UNLABELED) / logits.shape[1]

    def learn_from(self, volumes: Sequence[LabeledImage]) -> None:
        """Draw patches from these volumes from now on."""
        super().learn_from(volumes)
        self.tables = [quantile_tables(image[None]) for image in self.images]

    def center(self, number: int) -> tuple[float, float, float]:
        """(z, y, x) of the middle of a patch that lies within the volume; of the volume where that is no larger."""
        z, y, x = within(super().center(number), self.recipe.patch, self.labels[number].shape).tolist()
        return z, y, x

    def image(self, number: int) -> torch.Tensor:
        """That volume ``(C, Z, Y, X)`` in the gray values of another one."""
        others = max(1, len(self.tables) - 1)
        other = (number + 1 + int(self.rng.integers(others))) % len(self.tables)
        return match_histograms(super().image(number)[None], self.tables[other])[0]

    def _cut_from(self, number: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        return deform(*super()._cut_from(number, count), self.generator)


class LogisticMilletariLearner(MilletariLearner):
    """The same with the loss that the paper compares its Dice with: a logistic one, balanced in every batch."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The multinomial logistic loss of the labeled voxels, every class of the batch with the same influence."""
        return weighted_cross_entropy(logits, labels, batch_weights(labels, logits.shape[1]))

    def region_loss(self, logits: torch.Tensor, truth: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sigmoids' logistic loss, with the weights of the classes over all volumes."""
        return region_cross_entropy(logits, truth, labels, self.weights)
