"""What gray values alone say, pixel by pixel: the first preview where much is labeled and intensity tells most.

A small network on the gray values of a pixel and its neighbors in the slices beside it. It knows nothing of places or
outlines, so it needs no annotation prior, and can be asked of a large region before anything else could.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.densify.held_out import mean_iou

MOST_PIXELS = 20_000
HIDDEN = 32
STEPS, BATCH, RATE = 200, 1024, 1e-2
CLEARLY = 0.05  # IoU by which it has to be better than what else could be shown

Slices = list[tuple[torch.Tensor, torch.Tensor]]
"""Class probabilities ``(K, U, V)`` of slices, and what is drawn on them ``(U, V)``."""


@dataclass(frozen=True)
class GrayGuess:
    """A multilayer perceptron on gray values.

    Attributes
    ----------
    network : from ``(..., C)`` to logits ``(..., K)``
    mean, deviation : of the gray values it has learned from, ``(C,)``
    """

    network: nn.Module
    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(cls, gray: list[torch.Tensor], labels: list[torch.Tensor], weights: torch.Tensor, seed: int) -> GrayGuess:
        """Fit it to slices ``(C, U, V)`` and their labels ``(U, V)``, with the classes' ``weights`` ``(K,)``."""
        pixels = torch.cat([one.movedim(0, -1)[drawn != UNLABELED] for one, drawn in zip(gray, labels, strict=True)])
        truth = torch.cat([drawn[drawn != UNLABELED] for drawn in labels])
        step = -(-len(truth) // MOST_PIXELS)
        pixels, truth = pixels[::step], truth[::step].long()
        mean, deviation = pixels.mean(0), pixels.std(0) + 1e-3
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = nn.Sequential(
                nn.Linear(pixels.shape[1], HIDDEN),
                nn.GELU(),
                nn.Linear(HIDDEN, HIDDEN),
                nn.GELU(),
                nn.Linear(HIDDEN, len(weights)),
            ).to(pixels.device)
            drawn = torch.randint(len(truth), (STEPS, BATCH)).to(pixels.device)
        optimizer = _Adam(network)
        for step, batch in enumerate(drawn):
            loss = F.cross_entropy(network((pixels[batch] - mean) / deviation), truth[batch], weights)
            optimizer.step(loss, RATE * (1 - step / STEPS))
        return cls(network.requires_grad_(False), mean, deviation)

    def probabilities(self, gray: torch.Tensor) -> torch.Tensor:
        """Class probabilities ``(N, K, U, V)`` of gray values ``(N, C, U, V)``."""
        logits = self.network((gray.movedim(1, -1) - self.mean) / self.deviation)
        return torch.as_tensor(logits).softmax(-1).movedim(-1, 1)


class _Adam:
    """Adam (Kingma and Ba 2015). torch's own would import its compiler first, for twice as long as this fit."""

    def __init__(self, network: nn.Module) -> None:
        self.weights = list(network.parameters())
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]
        self.steps = 0

    def step(self, loss: torch.Tensor, rate: float) -> None:
        """Make the loss smaller."""
        gradients = torch.autograd.grad(loss, self.weights)
        self.steps += 1
        with torch.no_grad():
            for weight, mean, square, gradient in zip(self.weights, self.means, self.squares, gradients, strict=True):
                mean.lerp_(gradient, 0.1)
                square.lerp_(gradient.square(), 0.001)
                scale = (square / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
                weight.addcdiv_(mean, scale, value=-rate / (1 - 0.9**self.steps))


def is_clearly_better(ours: Slices, others: Slices, classes: int) -> bool:
    """Whether gray values find what is drawn by ``CLEARLY`` better than ``others`` do."""
    own, other = (mean_iou([(found.argmax(0), drawn) for found, drawn in slices], classes) for slices in (ours, others))
    return own is not None and other is not None and own > other + CLEARLY
