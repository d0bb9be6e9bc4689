"""Training a network on generated samples, one batch a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from Experiments.synthesis.generator import SampleGenerator
from SparseSegLib.networks import create_network
from SparseSegLib.training.averaging import AveragedWeights
from SparseSegLib.training.losses import has_labels, soft_dice, weighted_cross_entropy

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
DECAY = 0.995  # of the averaged weights
LARGEST_GRADIENT = 5.0


class SynthesisLearner:
    """Learns two classes, the structure and the rest, from a generator of samples with one channel.

    The loss is cross-entropy plus soft Dice. On a GPU the network computes in bfloat16, its weights stay float32.

    Parameters
    ----------
    network, arguments : entry of the network registry, and what to give its class
    samples : SampleGenerator; its device is where the training runs
    batch : samples a step
    seed : of the first weights
    """

    def __init__(
        self, network: str, arguments: Mapping[str, Any], samples: SampleGenerator, batch: int, seed: int
    ) -> None:
        self.samples = samples
        self.batch = batch
        self.steps = 0
        self.device = samples.generator.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = create_network(network, 1, 2, **arguments)
        self.network = made.to(self.device)
        self.averaged = AveragedWeights(self.network, DECAY)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        image, labels = self._draw()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * LEARNING_RATE
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.network(image)
        logits = logits.float()
        loss = weighted_cross_entropy(logits, labels) + soft_dice(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.averaged.update(self.network)
        self.steps += 1
        return float(loss.detach())

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch with at least one labeled voxel."""
        while True:
            image, labels = self.samples.batch(self.batch)
            if has_labels(labels):
                return image, labels

    def state(self) -> dict[str, Any]:
        """The state that :meth:`restore` needs to go on to the same result."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.network.state_dict(),
            "averaged_steps": self.averaged.steps,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.samples.generator.get_state(),
            "device": self.device.type,
            "steps": self.steps,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state` was taken; RuntimeError if that was of another network."""
        self.network.load_state_dict(state["network"])
        self.averaged.network.load_state_dict(state["averaged"])
        self.averaged.steps = state["averaged_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        if state["device"] == self.device.type:  # another kind of device draws other numbers
            self.samples.generator.set_state(state["generator"])
        self.steps = state["steps"]
