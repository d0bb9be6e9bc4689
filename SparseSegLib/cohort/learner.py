"""The learner of a cohort: patches of several volumes, in one process or several."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.augmentation import vary_gray
from SparseSegLib.cohort import label_quality
from SparseSegLib.cohort.label_quality import LabelQuality
from SparseSegLib.inference import output_size
from SparseSegLib.networks.objective import training_loss
from SparseSegLib.networks.region_network import RegionNetwork
from SparseSegLib.patches import PatchRecipe, PatchTrainer, seen
from SparseSegLib.training.distributed import current_process_group
from SparseSegLib.training.losses import region_cross_entropy, region_dice, soft_dice
from SparseSegLib.training.precision import computing_in

WEIGHT_DECAY = 1e-2


class CohortLearner(PatchTrainer):
    """The patch trainer with an optimizer and a loss that suit short trainings.

    The loss is the mean of the patches' own losses, each computed by itself: batch norm has the same statistics in
    training as in a prediction, those of one patch; memory is needed for one patch only; and processes that train
    together, each with a part of the batch, take the same step as one process with the whole batch. Where labels are
    noisy, patches are weighted by how good their labels seem; of several processes, each weights its own patches
    against one another.

    Parameters
    ----------
    recipe, channels, classes, seed, device, flips : as of :class:`PatchTrainer`
    precision : type that the network computes in; weights and loss are float32
    noisy_labels : whether to weight patches by :class:`~SparseSegLib.cohort.label_quality.LabelQuality`
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
        noisy_labels: bool = False,
    ) -> None:
        super().__init__(recipe, channels, classes, seed, device, flips=flips)
        self.precision = precision
        self.label_quality = LabelQuality(channels, classes, seed, device) if noisy_labels else None
        self.drawn: list[int] = []
        self.group = current_process_group()
        if not self.group.first:
            self._draw_otherwise(seed)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=WEIGHT_DECAY)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy and soft Dice over the labeled voxels."""
        return super().loss(logits, labels) + soft_dice(logits, labels)

    def region_loss(self, logits: torch.Tensor, truth: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The same of regions: ``logits`` (B, R, z, y, x) before sigmoids, and ``truth`` (B, R, z, y, x) bool."""
        dice = region_dice(logits, truth, labels != UNLABELED) / logits.shape[1]
        return region_cross_entropy(logits, truth, labels, self.weights) + dice

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        loss = super().step(rate)
        if self.label_quality is not None and self.steps > label_quality.FROM:
            self.label_quality.step(rate * self.recipe.learning_rate)
        return loss

    def step_seed(self) -> tuple[int, ...]:
        """The seed of the network's random numbers in this step, another one in every process."""
        return (*super().step_seed(), self.group.rank)

    def learn(self, image: torch.Tensor, labels: torch.Tensor) -> float:
        """Leave the gradients of the mean loss of the patches in the network, averaged over the processes; the loss."""
        samples = list(zip(image.split(1), labels.split(1), strict=True))
        total = 0.0
        if self.label_quality is not None:
            total = self.label_quality.learn(samples, self._loss_of_patch, self.drawn)
            self.group.average_gradients(self.label_quality.weighting)
        else:
            for patch, target in samples:
                loss = self._loss_of_patch(patch, target) / len(samples)
                loss.backward()
                total += float(loss.detach())
        self.group.average_gradients(self.network)
        return total

    def vary(self, image: torch.Tensor) -> torch.Tensor:
        """Change the gray values of a batch ``(B, C, z, y, x)`` at random."""
        return vary_gray(image, self.augmentation, self.generator)

    def center(self, number: int) -> tuple[float, float, float]:
        """(z, y, x) of the middle of the next patch; the labeled voxel that it is drawn for lies anywhere in the patch.

        A network that pads sees how far it is from the border of its patch. Were labels always in the middle, it would
        not learn to predict near the border, and a prediction has as many voxels there.
        """
        size = np.array(output_size(self.network, self.recipe.patch))
        z, y, x = (super().center(number) + self.rng.uniform(-0.5, 0.5, 3) * (size - 1)).tolist()
        return z, y, x

    def state(self) -> dict[str, Any]:
        """The state that :meth:`restore` needs to go on to the same result."""
        return {
            **super().state(),
            **({} if self.label_quality is None else {"label_quality": self.label_quality.state()}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken, which was in the first of several processes."""
        super().restore(state)
        if self.label_quality is not None:
            self.label_quality.restore(state["label_quality"])
        if not self.group.first:
            self._draw_otherwise(state["steps"])

    def _draw_otherwise(self, seed: int) -> None:
        """Draw patches that no other process draws."""
        self.rng.bit_generator.state = np.random.default_rng((seed, self.group.rank)).bit_generator.state
        self.generator.manual_seed(int(self.rng.integers(2**62)))

    def _loss_of_patch(self, patch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with computing_in(self.precision, self.device):
            return training_loss(self.network, patch, target, self._loss_of_output)

    def _loss_of_output(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        labels = seen(labels, logits)
        if isinstance(self.network, RegionNetwork):  # then they are the regions' logits
            return self.region_loss(logits.float(), self.network.scheme.regions_of(labels), labels)
        return self.loss(logits.float(), labels)

    def _draw_volumes(self) -> list[int]:
        """The volumes that the patches of a batch come from; different ones where patches are weighted."""
        count = len(self.images)
        if self.label_quality is None:
            drawn = self.rng.integers(count, size=self.batch)
        else:
            drawn = np.resize(self.rng.permutation(count), self.batch)
        self.drawn = drawn.tolist()
        return self.drawn

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch ``(B, C, z, y, x)`` and its labels, some in every patch; each comes from a volume of its own."""
        patches = [self._draw_patch(number) for number in self._draw_volumes()]
        image = self.vary(torch.cat([image for image, _ in patches]))
        labels = torch.cat([labels for _, labels in patches])
        return image.contiguous(memory_format=torch.channels_last_3d), labels

    def _draw_patch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A patch of that volume with at least one label where the network's output lies."""
        while True:
            image, labels = self._cut_from(number, 1)
            if self._has_labels_inside(labels):
                return image, labels
