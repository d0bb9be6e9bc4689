"""Test-time augmentation by mirror images."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import nn

AXES = {"z": 2, "y": 3, "x": 4}


class Mirrored(nn.Module):
    """Averages a network's class probabilities over the mirror images of its input.

    Takes and returns what the network does; the logits are the logarithm of the mean probabilities.

    Parameters
    ----------
    network : its input is ``(B, C, Z, Y, X)``
    axes : which of "z", "y" and "x" are mirrored, each with and without the others
    """

    def __init__(self, network: nn.Module, axes: str) -> None:
        super().__init__()
        self.network = network
        numbers = [AXES[axis] for axis in axes]
        self.views = [chosen for count in range(len(numbers) + 1) for chosen in combinations(numbers, count)]
        for name in ("padded", "margin", "multiple"):
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for a batch."""
        parts = [self.network(x.flip(axes)).softmax(1).flip(axes) for axes in self.views]
        return torch.stack(parts).mean(0).clamp(min=torch.finfo(x.dtype).tiny).log()
