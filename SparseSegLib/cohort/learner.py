"""The learner of a cohort: patches of several volumes, alone or in a team of processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from SparseSegLib.augmentation import vary_gray
from SparseSegLib.densify.patch_prediction import output_size
from SparseSegLib.densify.patch_trainer import PatchTrainer, seen
from SparseSegLib.densify.settings import PatchRecipe
from SparseSegLib.losses import soft_dice
from SparseSegLib.networks.objective import training_loss
from SparseSegLib.training.distributed import current_team
from SparseSegLib.training.precision import computing_in

WEIGHT_DECAY = 1e-2


class CohortLearner(PatchTrainer):
    """The patch trainer with an optimizer and a loss that suit short trainings.

    The loss is the mean of the patches' own losses, each computed by itself: batch norm sees in training what it sees
    in a prediction, one patch at a time; memory is needed for one patch only; and processes that train together, each
    with a part of the batch, take the very step that one process with the whole batch takes.

    Parameters
    ----------
    recipe, channels, classes, seed, device, flips : as of :class:`PatchTrainer`
    precision : type that the network computes in; weights and loss are float32
    """

    def __init__(
        self,
        recipe: PatchRecipe,
        channels: int,
        classes: int,
        seed: int,
        device: torch.device,
        *,
        flips: bool = True,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(recipe, channels, classes, seed, device, flips=flips)
        self.precision = precision
        self.team = current_team()
        if not self.team.first:
            self._draw_otherwise(seed)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=WEIGHT_DECAY)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy and soft Dice over the labeled voxels."""
        return super().loss(logits, labels) + soft_dice(logits, labels)

    def learn(self, image: torch.Tensor, labels: torch.Tensor) -> float:
        """Leave the gradients of the mean loss of the patches in the network, averaged over the team; the loss."""
        total = 0.0
        for patch, target in zip(image.split(1), labels.split(1), strict=True):
            with computing_in(self.precision, self.device):
                loss = training_loss(self.network, patch, target, self._loss_of_output) / len(image)
            loss.backward()
            total += float(loss.detach())
        self.team.average_gradients(self.network)
        return total

    def center(self, number: int) -> tuple[float, float, float]:
        """(z, y, x) of the middle of the next patch; the labeled voxel that it is drawn for lies anywhere in the patch.

        A network that pads can tell how far it is from the rim of its patch. Were labels always in the middle, it would
        not learn what to say near the rim, and a prediction has as many voxels there.
        """
        size = np.array(output_size(self.network, self.recipe.patch))
        z, y, x = (super().center(number) + self.rng.uniform(-0.5, 0.5, 3) * (size - 1)).tolist()
        return z, y, x

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken, which was in the first process of a team."""
        super().restore(state)
        if not self.team.first:
            self._draw_otherwise(state["steps"])

    def _draw_otherwise(self, seed: int) -> None:
        """Draw patches that no other process of the team draws."""
        self.rng.bit_generator.state = np.random.default_rng((seed, self.team.rank)).bit_generator.state
        self.generator.manual_seed(int(self.rng.integers(2**62)))

    def _loss_of_output(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.loss(logits.float(), seen(labels, logits))

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch ``(B, C, z, y, x)`` and its labels, some in every patch; each comes from a volume of its own."""
        patches = [self._draw_patch(int(number)) for number in self.rng.integers(len(self.images), size=self.batch)]
        image = vary_gray(torch.cat([image for image, _ in patches]), self.augmentation, self.generator)
        labels = torch.cat([labels for _, labels in patches])
        return image.contiguous(memory_format=torch.channels_last_3d), labels

    def _draw_patch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A patch of that volume with at least one label where the network's output lies."""
        while True:
            image, labels = self._cut_from(number, 1)
            if self._has_labels_inside(labels):
                return image, labels
