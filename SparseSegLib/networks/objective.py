"""The training objective of a network: its own where it has one, else a loss of its output."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Maps logits ``(B, K, ...)`` and a target ``(B, ...)`` to a number."""


def training_loss(network: nn.Module, image: torch.Tensor, target: torch.Tensor, loss: Loss) -> torch.Tensor:
    """The loss of one training step, with its graph.

    A network that learns from more than its output has a method ``training_loss(image, target, loss)``, which is
    called: recurrent ones take the loss of each pass, others add terms of branches that a prediction has no use for.

    Parameters
    ----------
    network : maps ``(B, C, ...)`` to logits ``(B, K, ...)``
    image : (B, C, ...)
    target : (B, ...) integers, ``UNLABELED`` where nothing is known
    loss : what to take where the network has no objective of its own
    """
    own = getattr(network, "training_loss", None)
    return loss(network(image), target) if own is None else own(image, target, loss)
