"""Training a 3D network on patches of one or several sparsely labeled volumes (Çiçek et al. 2016)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.augmentation import Augmentation, cut, random_places, vary_gray
from SparseSegLib.errors import UsageError
from SparseSegLib.networks import create_network
from SparseSegLib.networks.objective import training_loss
from SparseSegLib.patches.recipe import PatchRecipe
from SparseSegLib.patches.sampling import PatchSampler
from SparseSegLib.training.averaging import AveragedWeights
from SparseSegLib.training.losses import class_weights, has_labels, weighted_cross_entropy
from SparseSegLib.training.weights import load_all_or_none

MOST_PLACES = 50_000  # of a class in a volume, to draw patches around
MOST_OF_MEMORY = 0.5  # fraction of a GPU's free memory that volumes may fill


@dataclass(frozen=True, eq=False)
class LabeledImage:
    """The source of patches: ``image`` (C, Z, Y, X) float32 and ``labels`` (Z, Y, X) uint8 with ``UNLABELED``."""

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

    averaging = 0.99  # decay of the averaged weights, which predict

    def __init__(
        self, recipe: PatchRecipe, channels: int, classes: int, seed: int, device: torch.device, *, flips: bool = True
    ) -> None:
        self.recipe = recipe
        self.classes = classes
        self.seed = seed
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
        self.averaged = AveragedWeights(self.network, self.averaging)

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Made when first needed: with it, torch imports its compiler, for which the first preview need not wait."""
        return self.make_optimizer()

    def make_optimizer(self) -> torch.optim.Optimizer:
        """SGD with momentum, as the paper has it."""
        recipe = self.recipe
        return torch.optim.SGD(self.network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)

    def learn_from(self, volumes: Sequence[LabeledImage]) -> None:
        """Draw patches from these volumes from now on; weights and optimizer stay."""
        home = self._home(volumes)
        self.images = [volume.image.to(home) for volume in volumes]
        self.labels = [torch.from_numpy(volume.labels).to(home) for volume in volumes]
        self.samplers = [PatchSampler(_thinned(volume.labels), self.rng) for volume in volumes]
        counts = np.zeros(self.classes, np.int64)
        for volume in volumes:
            counts += np.bincount(volume.labels[volume.labels != UNLABELED], minlength=self.classes)
        self.weights = class_weights(counts, self.recipe.balance).to(self.device)

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        image, labels = self.draw()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.recipe.learning_rate
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        with _drawing(self.step_seed(), self.device):
            loss = self.learn(image, labels)
        self.optimizer.step()
        self.averaged.update(self.network)
        self.steps += 1
        return loss

    def shrink(self) -> int:
        """Take half as many patches per step from now on; how many these are, or 0 if there is one already."""
        if self.batch == 1:
            return 0
        self.batch //= 2
        return self.batch

    def step_seed(self) -> tuple[int, ...]:
        """The seed of the network's random numbers in this step, the same in a resumed training."""
        return self.seed, self.steps

    def learn(self, image: torch.Tensor, labels: torch.Tensor) -> float:
        """Leave the gradients of a batch ``(B, C, z, y, x)`` and ``(B, z, y, x)`` in the network; the loss."""
        loss = training_loss(
            self.network, image, labels, lambda logits, target: self.loss(logits, seen(target, logits))
        )
        loss.backward()
        return float(loss.detach())

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy of ``logits`` (B, K, z, y, x) over the labeled voxels of ``labels`` (B, z, y, x)."""
        return weighted_cross_entropy(logits, labels, self.weights)

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch ``(B, C, z, y, x)`` and its labels, at least one of them where the network's output lies."""
        while True:
            image, labels = self._cut()
            if self._has_labels_inside(labels):
                image = vary_gray(image, self.augmentation, self.generator)
                return image.contiguous(memory_format=torch.channels_last_3d), labels

    def _has_labels_inside(self, labels: torch.Tensor) -> bool:
        """Whether any voxel of a batch ``(B, z, y, x)`` is labeled where the network's output lies."""
        margin = getattr(self.network, "margin", 0)
        return has_labels(labels[(slice(None), *(slice(margin, side - margin) for side in self.recipe.patch))])

    def _cut(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch of patches around labeled voxels; each comes from a volume of its own."""
        if len(self.images) == 1:
            return self._cut_from(0, self.batch)
        chosen = self.rng.integers(len(self.images), size=self.batch)
        patches = [self._cut_from(int(number), 1) for number in chosen]
        return torch.cat([image for image, _ in patches]), torch.cat([labels for _, labels in patches])

    def _cut_from(self, number: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        centers = torch.tensor([self.center(number) for _ in range(count)], dtype=torch.float32)
        places = random_places(centers, self.recipe.patch, self.augmentation, self.generator)
        volume = self.image(number)
        image, labels = cut(volume, self.labels[number], places.to(volume.device))
        return image.to(self.device), labels.to(self.device)

    def image(self, number: int) -> torch.Tensor:
        """That volume ``(C, Z, Y, X)`` as patches are cut from it."""
        return self.images[number]

    def center(self, number: int) -> tuple[float, float, float]:
        """(z, y, x) in voxels of the middle of the next patch from that volume."""
        return self.samplers[number].center()

    def _home(self, volumes: Sequence[LabeledImage]) -> torch.device:
        """The device of the volumes: the network's, or the CPU if they would fill the GPU's memory."""
        if self.device.type != "cuda":
            return self.device
        needed = sum(volume.image.numel() * volume.image.element_size() + volume.labels.nbytes for volume in volumes)
        free, _ = torch.cuda.mem_get_info(self.device)
        return self.device if needed < MOST_OF_MEMORY * free else torch.device("cpu")

    def weights_dict(self) -> dict[str, Any]:
        """The averaged weights, which predict, for a :meth:`warm_start`."""
        return {"averaged": self.averaged.network.state_dict(), "averaged_steps": self.averaged.steps}

    def state(self) -> dict[str, Any]:
        """The state that :meth:`restore` needs to go on to the same result."""
        return {
            **self.weights_dict(),
            "network": self.network.state_dict(),
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
        self.steps = int(state["steps"])

    def warm_start(self, state: dict[str, Any]) -> None:
        """Take over the weights of another training of the same network.

        Raises ValueError if they do not fit; nothing has changed then.
        """
        averaged = state["averaged"]
        load_all_or_none([(self.network, state.get("network", averaged)), (self.averaged.network, averaged)])
        self.averaged.steps = int(state["averaged_steps"])


@contextmanager
def _drawing(step_seed: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Seed torch's global generator, which dropout and the like use, for this block."""
    seed = int(np.random.SeedSequence(step_seed).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a hundred times as long
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


def seen(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The middle part of the labels, which the network's output covers."""
    for axis in range(1, 4):
        lost = (labels.shape[axis] - logits.shape[axis + 1]) // 2
        labels = labels.narrow(axis, lost, logits.shape[axis + 1])
    return labels


def _thinned(labels: np.ndarray) -> np.ndarray:
    """Labels of which large classes keep only some voxels, drawn at random: enough places to cut patches around."""
    counts = np.bincount(labels.ravel(), minlength=256)
    counts[UNLABELED] = 0
    if counts.max() <= MOST_PLACES:
        return labels
    share = np.minimum(1, MOST_PLACES / np.maximum(counts, 1)).astype(np.float32)
    kept = np.random.default_rng(0).random(labels.shape, np.float32) < share[labels]
    return np.where(kept, labels, UNLABELED).astype(np.uint8)
