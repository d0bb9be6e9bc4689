"""Several structures by a network for one: each of them against the rest, with shared weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class OneVersusRest(nn.Module):
    """Asks a network for one structure about each of several.

    About each it sees the channels that speak of this structure, and those that speak of all. So what one structure
    teaches about outlines and the channels that foretell them holds for all, also for one that few slices show. Takes
    ``(B, C, U, V)`` and returns logits ``(B, K, U, V)``, that of background 0.

    Parameters
    ----------
    network : takes as many channels as speak of one structure and of all, and returns logits of two classes, the
        structure the second
    subjects : of each of the ``C`` channels, the class from 1 to K - 1 that it speaks of; 0 for all. As many speak of
        one class as of another, in the same order.
    """

    dimensions = 2

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor], subjects: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.channels = [channels_about(label, subjects) for label in range(1, max(subjects) + 1)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, K, U, V)`` for ``(B, C, U, V)``."""
        seen = torch.stack([x[:, channels] for channels in self.channels], 1)
        logits = self.network(seen.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        own = (logits[:, 1] - logits[:, 0]).unflatten(0, seen.shape[:2])
        return torch.cat([torch.zeros_like(own[:, :1]), own], 1)


def channels_about(label: int, subjects: Sequence[int]) -> list[int]:
    """The channels that speak of a class or of all."""
    return [channel for channel, subject in enumerate(subjects) if subject in (0, label)]
