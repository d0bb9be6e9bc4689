"""Training a 3D network on patches of one or several sparsely labeled volumes (Çiçek et al. 2016)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.augmentation import Augmentation, cut, random_places, vary_gray
from SparseSegLib.densify.settings import PatchRecipe
from SparseSegLib.errors import UsageError
from SparseSegLib.losses import class_weights, has_labels, weighted_cross_entropy
from SparseSegLib.networks import create_network
from SparseSegLib.sampling import PatchSampler
from SparseSegLib.training.averaging import AveragedWeights


@dataclass(frozen=True, eq=False)
class LabeledImage:
    """What patches are cut from: ``image`` (C, Z, Y, X) float32 and ``labels`` (Z, Y, X) uint8 with ``UNLABELED``."""

    image: torch.Tensor
    labels: np.ndarray


class PatchTrainer:
    """Learns from patches around labeled voxels, all volumes and all classes of a volume alike.

    Parameters
    ----------
    recipe : PatchRecipe
    channels, classes : int, of the network
    seed : int
    device : torch.device
    flips : mirror patches along each axis at random
    """

    def __init__(
        self, recipe: PatchRecipe, channels: int, classes: int, seed: int, device: torch.device, *, flips: bool = True
    ) -> None:
        self.recipe = recipe
        self.classes = classes
        self.device = device
        self.batch = recipe.batch
        self.steps = 0
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.augmentation = Augmentation(
            flips=flips,
            deformation_spacing=recipe.deformation_spacing,
            deformation_deviation=recipe.deformation_deviation,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = create_network(recipe.network, channels, classes, **recipe.arguments)
        if network.dimensions != 3:
            raise UsageError(f"The patch learner needs a 3D network, and {recipe.network} is none.")
        self.network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.averaged = AveragedWeights(self.network)
        self.optimizer = self.make_optimizer()

    def make_optimizer(self) -> torch.optim.Optimizer:
        """SGD with momentum, as the paper has it."""
        recipe = self.recipe
        return torch.optim.SGD(self.network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)

    def learn_from(self, volumes: Sequence[LabeledImage]) -> None:
        """Draw patches from these volumes from now on; weights and optimizer stay."""
        self.images = [volume.image.to(self.device) for volume in volumes]
        self.labels = [torch.from_numpy(volume.labels).to(self.device) for volume in volumes]
        self.samplers = [PatchSampler(volume.labels, self.rng) for volume in volumes]
        counts = np.zeros(self.classes, np.int64)
        for volume in volumes:
            counts += np.bincount(volume.labels[volume.labels != UNLABELED], minlength=self.classes)
        self.weights = class_weights(counts, self.recipe.balance).to(self.device)

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        image, labels = self._draw()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.recipe.learning_rate
        self.network.train()
        logits = self.forward(image)
        loss = self.loss(logits, _seen(labels, logits))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.averaged.update(self.network)
        self.steps += 1
        return float(loss.detach())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The network's logits ``(B, K, z, y, x)`` for a batch."""
        return self.network(image)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy of ``logits`` (B, K, z, y, x) over the labeled voxels of ``labels`` (B, z, y, x)."""
        return weighted_cross_entropy(logits, labels, self.weights)

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch ``(B, C, z, y, x)`` and its labels, at least one of them where the network's output lies."""
        margin = getattr(self.network, "margin", 0)
        middle = (slice(None), *(slice(margin, side - margin) for side in self.recipe.patch))
        while True:
            image, labels = self._cut()
            if has_labels(labels[middle]):
                image = vary_gray(image, self.augmentation, self.generator)
                return image.contiguous(memory_format=torch.channels_last_3d), labels

    def _cut(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch of patches around labeled voxels; each comes from a volume of its own."""
        if len(self.images) == 1:
            return self._cut_from(0, self.batch)
        chosen = self.rng.integers(len(self.images), size=self.batch)
        patches = [self._cut_from(int(number), 1) for number in chosen]
        return torch.cat([image for image, _ in patches]), torch.cat([labels for _, labels in patches])

    def _cut_from(self, number: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        centers = torch.tensor([self.samplers[number].center() for _ in range(count)], dtype=torch.float32)
        places = random_places(centers, self.recipe.patch, self.augmentation, self.generator)
        return cut(self.images[number], self.labels[number], places)

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs to go on to the same result."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.network.state_dict(),
            "averaged_steps": self.averaged.steps,
            "optimizer": self.optimizer.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "generator": self.generator.get_state(),
            "device": self.generator.device.type,
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken, on the same volumes."""
        self.warm_start(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        if state["device"] == self.generator.device.type:  # another kind of device draws other numbers
            self.generator.set_state(state["generator"])
        self.steps = state["steps"]

    def warm_start(self, state: dict[str, Any]) -> None:
        """Take over the weights of another training of the same network; ValueError if they do not fit."""
        try:
            self.network.load_state_dict(state["network"])
            self.averaged.network.load_state_dict(state["averaged"])
        except (RuntimeError, KeyError) as error:
            raise ValueError(str(error)) from error
        self.averaged.steps = state["averaged_steps"]


def _seen(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The middle part of the labels, which the network's output covers."""
    for axis in range(1, 4):
        lost = (labels.shape[axis] - logits.shape[axis + 1]) // 2
        labels = labels.narrow(axis, lost, logits.shape[axis + 1])
    return labels
