"""What all learners here have: AdamW with a cosine rate, averaged weights, and a state to go on from."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from SparseSegLib.training.averaging import AveragedWeights
from SparseSegLib.training.precision import choose_precision
from SparseSegLib.training.schedule import cosine_rate


class OptimizerRecipe(Protocol):
    """The part of a configuration that says how weights are changed."""

    @property
    def learning_rate(self) -> float:
        """The highest one."""

    @property
    def weight_decay(self) -> float:
        """Of AdamW."""

    @property
    def warmup(self) -> int:
        """Steps until the highest learning rate."""

    @property
    def longest_gradient(self) -> float:
        """Longer ones are shortened to it."""

    @property
    def averaging(self) -> float:
        """Decay of the averaged weights."""

    @property
    def precision(self) -> str:
        """auto, float32 or bf16."""


class AveragedLearner:
    """Changes the weights of a network step by step.

    Attributes
    ----------
    network, averaged : the one that learns, and the running mean of its weights that predicts
    precision : what the network computes in
    steps : done so far
    """

    def __init__(self, network: nn.Module, recipe: OptimizerRecipe, device: torch.device) -> None:
        self.network, self.device = network, device
        self.precision = choose_precision(recipe.precision, device)
        self.averaged = AveragedWeights(network, recipe.averaging)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.steps = 0
        self._optimizing = recipe

    def begin(self, done: float) -> None:
        """Begin a step when a fraction ``done`` of the training is over."""
        recipe = self._optimizing
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * cosine_rate(self.steps, done, recipe.warmup)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)

    def descend(self, loss: torch.Tensor) -> float:
        """End a step: change the weights such that the loss falls; its value."""
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._optimizing.longest_gradient)
        self.optimizer.step()
        self.averaged.update(self.network)
        self.steps += 1
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs to go on, on whatever device."""
        return {
            "steps": self.steps,
            "network": self.network.state_dict(),
            "averaged": self.averaged.network.state_dict(),
            "averaged_steps": self.averaged.steps,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""
        self.steps = state["steps"]
        self.network.load_state_dict(state["network"])
        self.averaged.network.load_state_dict(state["averaged"])
        self.averaged.steps = state["averaged_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
