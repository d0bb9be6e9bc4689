"""The slice U-Net: a 2D network on slices with their neighbors and the annotation prior, in every orientation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Request, TrainableExpert
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.slice_dataset import SliceDataset
from SparseSegLib.densify.slice_features import SliceFeatures
from SparseSegLib.densify.slicewise import SlicewisePredictor
from SparseSegLib.networks.one_versus_rest import OneVersusRest, channels_of_class
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.prior import USUAL_PARTS
from SparseSegLib.training.averaging import AveragedWeights
from SparseSegLib.training.losses import class_weights, soft_dice, weighted_cross_entropy
from SparseSegLib.training.weights import load_all_or_none

LARGEST_GRADIENT = 2.0  # norm


@dataclass(frozen=True)
class SliceUNetRecipe:
    """Configuration of the slice U-Net (2.5D: a slice, its neighbors, the annotation prior).

    Attributes
    ----------
    widths : channels of the U-Net's levels
    neighbors : slices on either side that come in as channels
    prior : parts of the annotation prior that come in as channels (see ``SparseSegLib.prior.PRIOR_PARTS``)
    batch, crop : training patches per step, and their longest side (pixels)
    moved : fraction of the patches that are rotated, scaled and deformed; all are flipped at random
    learning_rate, weight_decay : AdamW
    averaging : decay of the averaged weights, which predict
    dice : weight of the soft Dice beside the cross-entropy in the loss
    balance : exponent on the inverse class frequency in the loss; 1 gives classes equal influence
    """

    name: ClassVar[str] = "slice-unet"
    widths: tuple[int, ...] = (16, 32, 48, 64)
    neighbors: int = 2
    prior: tuple[str, ...] = USUAL_PARTS
    batch: int = 4
    crop: int = 96
    moved: float = 0.5
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    averaging: float = 0.99
    dice: float = 1.0
    balance: float = 0.5
    prior_weight: float = 1.0
    warmup: int = 60

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """Always."""
        return True

    def make(self, problem: Problem, seed: int, device: torch.device) -> SliceUNetExpert:
        """The untrained expert."""
        return SliceUNetExpert(problem, self, seed, device)


class SliceUNetExpert(TrainableExpert):
    """Learns from annotated slices, each with a prior computed without it.

    Parameters
    ----------
    problem : Problem
    recipe : SliceUNetRecipe
    seed : int
    device : torch.device
    """

    def __init__(self, problem: Problem, recipe: SliceUNetRecipe, seed: int, device: torch.device) -> None:
        self.problem = problem
        self.recipe = recipe
        self.device = device
        self.steps = 0
        self._learned: SliceDataset | None = None
        self.batch = max(1, round(recipe.batch / (problem.classes - 1) ** 0.5))
        self.rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._make_network(problem)
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedWeights(self.network, recipe.averaging)

    def _make_network(self, problem: Problem) -> nn.Module:
        """From channels ``(B, C, U, V)`` to logits ``(B, K, U, V)``."""
        return _network(self._features(problem).channel_classes, problem.classes, self.recipe.widths)

    def _features(self, problem: Problem) -> SliceFeatures:
        """The network's input."""
        return SliceFeatures(problem, self.recipe.prior, self.recipe.neighbors)

    @property
    def trained(self) -> int:  # type: ignore[override]
        """Steps behind the weights that predict, those of an earlier training included."""
        return self.averaged.steps

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Made when first needed: with it, torch imports its compiler, for which the first preview need not wait."""
        recipe = self.recipe
        learned = [one for one in self.network.parameters() if one.requires_grad]
        return torch.optim.AdamW(learned, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

    def set_annotation(self, problem: Problem, hidden: frozenset[Plane]) -> None:
        """Learn and predict from this annotation from now on, ``hidden`` planes left out."""
        changed = problem is not self.problem
        self.problem = problem
        features = self._features(problem)
        self.keep = features.known(hidden)
        self.dataset = SliceDataset(features, problem.classes, hidden, self.device, self._learned if changed else None)
        self._learned = self.dataset
        self.weights = class_weights(self.dataset.class_counts(), exponent=self.recipe.balance).to(self.device)
        self.predictor = SlicewisePredictor(features, self.averaged.network, problem.classes, self.device)

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The next batch of patches ``(B, C, H, W)`` and their labels ``(B, H, W)``."""
        return self.dataset.draw(self.batch, self.recipe.crop, self.recipe.moved, self.rng)

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        recipe = self.recipe
        inputs, labels = self.draw()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * recipe.learning_rate
        self.network.train()
        logits = self.network(inputs.contiguous(memory_format=torch.channels_last))
        loss = weighted_cross_entropy(logits, labels, self.weights) + recipe.dice * soft_dice(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.averaged.update(self.network)
        self.steps += 1
        return float(loss.detach())

    def shrink(self) -> int:
        """Take half as many patches per step from now on; how many these are, or 0 if there is one already."""
        if self.batch == 1:
            return 0
        self.batch //= 2
        return self.batch

    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's box, the mean over the orientations."""
        return self.predictor.predict(request, self.keep, token)

    def predict_planes(self, planes: Sequence[Plane], token: CancelToken) -> list[torch.Tensor]:
        """Class probabilities ``(K, U, V)`` of some slices, each seen from its own orientation."""
        return self.predictor.predict_planes(planes, self.keep, token)

    def seconds(self, request: Request) -> float:
        """Seconds that a prediction would take."""
        return self.predictor.seconds(request, self.keep)

    def weights_dict(self) -> dict[str, Any]:
        """The averaged weights, which predict."""
        return {"averaged": self.averaged.network.state_dict(), "averaged_steps": self.averaged.steps}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer and random numbers."""
        return {
            **self.weights_dict(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, warm_start: bool = False) -> None:
        """Go on where :meth:`state_dict` was taken, or start from its weights alone."""
        averaged = state["averaged"]
        load_all_or_none([(self.network, state.get("network", averaged)), (self.averaged.network, averaged)])
        self.averaged.steps = int(state["averaged_steps"])
        if warm_start:
            return
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.steps = int(state["steps"])


def _network(channel_classes: list[int], classes: int, widths: tuple[int, ...]) -> nn.Module:
    """One network for all structures, each against the rest, if the prior has channels of each."""
    if classes == 2 or not any(channel_classes):
        return SliceUNet(len(channel_classes), classes, widths)
    return OneVersusRest(SliceUNet(len(channels_of_class(1, channel_classes)), 2, widths), channel_classes)
