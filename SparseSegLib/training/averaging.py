"""Averaged weights: the network that predicts is a running mean of the one that trains."""

from __future__ import annotations

import copy

import torch
from torch import nn


class AveragedWeights:
    """Exponential moving average of a network's weights and statistics.

    The decay rises to ``decay`` with the steps, so that an early preview does not show the random start.
    """

    def __init__(self, network: nn.Module, decay: float = 0.99) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the weights of ``network`` after one of its steps."""
        decay = min(self.decay, (self.steps + 1) / (self.steps + 10))
        self.steps += 1
        for mean, value in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
