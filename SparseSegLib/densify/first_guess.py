"""What gray values and prior say pixel by pixel: the segmentation to show before the network has learned anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks.one_versus_rest import OneVersusRest, channels_about
from SparseSegLib.training.losses import class_weights

MOST_PIXELS = 20_000
ITERATIONS = 30
DECAY = 1e-3
FORGOTTEN_AFTER = 60  # steps of the network


@dataclass(frozen=True)
class FirstGuess:
    """Multinomial logistic regression of the classes on the network's input channels.

    Attributes
    ----------
    coefficients : Tensor (K, C, 1, 1)
    intercepts : Tensor (K,)
    """

    coefficients: torch.Tensor
    intercepts: torch.Tensor

    @classmethod
    def of(cls, inputs: list[torch.Tensor], labels: list[torch.Tensor], weights: torch.Tensor) -> FirstGuess:
        """Fit it to slices ``(C, U, V)`` and their labels ``(U, V)``, with the classes' ``weights`` ``(K,)``."""
        pixels = torch.cat([one.movedim(0, -1)[drawn != UNLABELED] for one, drawn in zip(inputs, labels, strict=True)])
        truth = torch.cat([drawn[drawn != UNLABELED] for drawn in labels])
        step = -(-len(truth) // MOST_PIXELS)
        return cls._fit(pixels[::step], truth[::step].long(), weights)

    @classmethod
    def _fit(cls, pixels: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor) -> FirstGuess:
        coefficients = torch.zeros(len(weights), pixels.shape[1], requires_grad=True, device=pixels.device)
        intercepts = torch.zeros(len(weights), requires_grad=True, device=pixels.device)
        optimizer = torch.optim.LBFGS([coefficients, intercepts], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            wrong = F.cross_entropy(pixels @ coefficients.T + intercepts, truth, weights)
            value = wrong + DECAY * coefficients.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        return cls(coefficients.detach()[..., None, None], intercepts.detach())

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, K, U, V)`` of ``inputs`` ``(N, C, U, V)``."""
        return F.conv2d(inputs, self.coefficients, self.intercepts)


def guess_one_by_one(
    inputs: list[torch.Tensor], labels: list[torch.Tensor], subjects: Sequence[int], balance: float
) -> OneVersusRest:
    """A guess about one structure against the rest, fitted to all of them, that is asked about each.

    ``inputs`` and ``labels`` are as for :meth:`FirstGuess.of`, ``subjects`` as for :class:`OneVersusRest`; ``balance``
    is the exponent on the inverse frequency of structure and rest.
    """
    about, own = [], []
    for label in range(1, max(subjects) + 1):
        channels = channels_about(label, subjects)
        about += [one[channels] for one in inputs]
        own += [torch.where(drawn == UNLABELED, UNLABELED, (drawn == label).to(drawn.dtype)) for drawn in labels]
    counts = sum(torch.bincount(drawn[drawn != UNLABELED].flatten(), minlength=2) for drawn in own)
    weights = class_weights(torch.as_tensor(counts).cpu().numpy(), exponent=balance).to(about[0].device)
    return OneVersusRest(FirstGuess.of(about, own, weights).logits, subjects)


def fading_share(steps: int, until: int | None = None) -> float:
    """How much what was known before counts beside a network of so many steps: from all to nothing."""
    return max(0.0, 1 - steps / (until or FORGOTTEN_AFTER))
