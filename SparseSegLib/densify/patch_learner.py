"""The patch learner: a 3D network on patches of the image alone, as in the 3D U-Net paper (Çiçek et al. 2016)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from SparseSegLib.augmentation import Augmentation, cut, random_places, vary_grey
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.settings import PatchRecipe
from SparseSegLib.errors import UsageError
from SparseSegLib.losses import class_weights, has_labels, weighted_cross_entropy
from SparseSegLib.networks import create_network
from SparseSegLib.sampling import PatchSampler
from SparseSegLib.tiling import predict_valid, predict_windows
from SparseSegLib.training.averaging import AveragedWeights


class PatchLearner:
    """Learns from patches around labeled voxels with SGD; predicts with overlapping tiles.

    Parameters
    ----------
    problem : Problem
    recipe : PatchRecipe
    seed : int
    device : torch.device
    """

    def __init__(self, problem: Problem, recipe: PatchRecipe, seed: int, device: torch.device) -> None:
        self.recipe = recipe
        self.device = device
        self.batch = recipe.batch
        self.steps = 0
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.augmentation = Augmentation(
            deformation_spacing=recipe.deformation_spacing, deformation_deviation=recipe.deformation_deviation
        )
        self.replace(problem)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = create_network(recipe.network, len(problem.image), problem.classes, **recipe.arguments)
        if network.dimensions != 3:
            raise UsageError(f"The patch learner needs a 3D network, and {recipe.network} is none.")
        self.network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.averaged = AveragedWeights(self.network)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)

    def replace(self, problem: Problem) -> None:
        """Go on with another annotation of the same volume; weights and optimizer stay."""
        self.problem = problem
        self.image = problem.image.to(self.device)
        self.labels = torch.from_numpy(problem.labels.array).to(self.device)
        self.sampler = PatchSampler(problem.labels.array, self.rng)
        seen = problem.labels.array[problem.labels.labeled]
        counts = np.bincount(seen, minlength=problem.classes)
        self.weights = class_weights(counts, self.recipe.balance).to(self.device)

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        image, labels = self._draw()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.recipe.learning_rate
        self.network.train()
        logits = self.network(image)
        loss = weighted_cross_entropy(logits, self._seen(labels, logits), self.weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.averaged.update(self.network)
        self.steps += 1
        return float(loss.detach())

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch ``(B, C, z, y, x)`` and its labels, at least one of them where the network's output lies."""
        while True:
            centres = torch.tensor([self.sampler.centre() for _ in range(self.batch)], dtype=torch.float32)
            places = random_places(centres, self.recipe.patch, self.augmentation, self.generator)
            image, labels = cut(self.image, self.labels, places)
            margin = getattr(self.network, "margin", 0)
            if has_labels(labels[(slice(None), *(slice(margin, side - margin) for side in self.recipe.patch))]):
                image = vary_grey(image, self.augmentation, self.generator)
                return image.contiguous(memory_format=torch.channels_last_3d), labels

    @staticmethod
    def _seen(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The middle part of the labels, which the network's output covers."""
        for axis in range(1, 4):
            lost = (labels.shape[axis] - logits.shape[axis + 1]) // 2
            labels = labels.narrow(axis, lost, logits.shape[axis + 1])
        return labels

    @torch.inference_mode()
    def predict(self, token: CancelToken, stride: int = 0) -> torch.Tensor:
        """Class probabilities ``(K, Z, Y, X)`` on the working grid; ``stride`` changes nothing here."""

        def predict(part: torch.Tensor) -> torch.Tensor:
            return self.averaged.network(part).softmax(1)

        network, classes = self.averaged.network, self.problem.classes
        z, y, x = (side - 2 * getattr(network, "margin", 0) for side in self.recipe.patch)
        if getattr(network, "padded", True):
            return predict_windows(
                predict, self.image, classes=classes, window=(z, y, x), device=self.device, check=token.check
            )
        return predict_valid(
            predict,
            self.image.cpu(),
            classes=classes,
            margin=int(network.margin),  # type: ignore[arg-type]
            tile=(z, y, x),
            multiple=int(network.multiple),  # type: ignore[arg-type]
            device=self.device,
            check=token.check,
        )

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs to go on to the same result."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.network.state_dict(),
            "averaged_steps": self.averaged.steps,
            "optimizer": self.optimizer.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "generator": self.generator.get_state(),
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken, on the same problem."""
        self.warm_start(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = json.loads(state["rng"])
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
