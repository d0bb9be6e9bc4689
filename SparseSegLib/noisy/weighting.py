"""Samples weighted by the quality of their labels, in one batch or in several that are computed one by one.

The thesis on radiotherapy targets (2019, section 3.2) weights the samples of a batch against one another, which needs
batches of several volumes. :meth:`QualityWeighting.accumulate` takes any number of batches, of one volume each if need
be, and leaves the gradients of the one large batch that memory had no room for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

STRENGTH = 2.0

Sample = tuple[torch.Tensor, torch.Tensor]
"""Images ``(B, C, ...)`` and their labels ``(B, ...)``; B may be 1, and differ from sample to sample, like the size."""

SampleLosses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps images and labels to losses ``(B,)``, through the network that segments."""


def overfitting_control(scores: torch.Tensor, strength: float = STRENGTH) -> torch.Tensor:
    """λ·tanh(t) with λ = ``strength``: no weight becomes more than e^{2λ} times another (section 3.2.3).

    The thesis has the scores themselves for t; here it is their difference from the mean over the batch. Nothing in the
    loss keeps the mean of the scores near 0, and far from there tanh is flat: all samples get the same weight, and the
    quality network no gradient that would bring it back.
    """
    return strength * torch.tanh(scores - scores.mean())


def per_sample(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A loss of a batch as one that returns the loss ``(B,)`` of each of its samples."""

    def losses(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.stack([loss(output[n : n + 1], target[n : n + 1]) for n in range(len(output))])

    return losses


class QualityWeighting(nn.Module):
    """The quality awareness and overfitting control modules around any network and loss; used in training only.

    Weights are the softmax over the samples of their scores; the loss is the sum of each sample's loss times its
    weight. Back-propagation through it trains the network that segments and the quality network: a sample whose loss is
    above the weighted mean loses weight. The quality network should learn at about a tenth of the other's rate: one as
    fast decides before anything is known, and its choice feeds itself.

    Parameters
    ----------
    quality : network that maps images and labels to scores ``(B,)``, see
        :class:`~SparseSegLib.noisy.quality.QualityNetwork`
    strength : λ of :func:`overfitting_control`; None to leave it out
    """

    def __init__(self, quality: nn.Module, strength: float | None = STRENGTH) -> None:
        super().__init__()
        self.quality = quality
        self.strength = strength

    def weights(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Weights ``(B,)`` of the samples of a batch, 1 in all."""
        return self._weights_of(self.quality(image, target))

    def forward(self, losses: torch.Tensor, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The weighted loss of a batch, with its graph.

        Parameters
        ----------
        losses : (B,), of each sample
        image, target : (B, C, ...) and (B, ...)
        """
        return (self.weights(image, target) * losses).sum()

    def accumulate(self, samples: Sequence[Sample], losses_of: SampleLosses) -> tuple[float, torch.Tensor]:
        """Add the gradients of the weighted loss of all samples, with one of them in memory at a time.

        The weights need the scores of all samples, but these are numbers: they are computed first, without a graph.
        Each sample's loss is then propagated back times its weight, and at last each score times its part of the loss's
        gradient. That is the gradient of the joint batch, as long as samples do not see one another (batch norm over
        several of them) and nothing is drawn at random in the quality network. It costs a second pass through the small
        network, none through the large one.

        Parameters
        ----------
        samples : batches, of one volume each if need be, on the device of the networks
        losses_of : runs the network that segments

        Returns
        -------
        The weighted loss, and the weights of all samples in one row.
        """
        with torch.no_grad():
            scores = [self.quality(image, target) for image, target in samples]
        counts = [len(score) for score in scores]
        joint = torch.cat(scores).requires_grad_()
        weights = self._weights_of(joint)
        found = []
        for (image, target), weight in zip(samples, weights.detach().split(counts), strict=True):
            losses = losses_of(image, target)
            (weight * losses).sum().backward()
            found.append(losses.detach())
        loss = (weights * torch.cat(found)).sum()
        (slopes,) = torch.autograd.grad(loss, joint)
        for (image, target), slope in zip(samples, slopes.split(counts), strict=True):
            self.quality(image, target).backward(slope)
        return float(loss.detach()), weights.detach()

    def _weights_of(self, scores: torch.Tensor) -> torch.Tensor:
        return (scores if self.strength is None else overfitting_control(scores, self.strength)).softmax(0)
