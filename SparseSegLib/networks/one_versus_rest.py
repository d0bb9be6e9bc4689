"""One-versus-rest segmentation of several structures by one binary network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class OneVersusRest(nn.Module):
    """Predicts each of several structures against the rest, with one binary network.

    For each structure its input are the channels of this structure and those of all classes. So what it learns about
    outlines from one structure holds for all, also for one that few slices show. Takes ``(B, C, U, V)`` and returns
    logits ``(B, K, U, V)``, that of background 0.

    Parameters
    ----------
    network : takes the channels of one structure and those of all classes, and returns logits of two classes, the
        structure the second
    channel_classes : the class, from 1 to K - 1, of each of the ``C`` channels; 0 for those of all classes. Each class
        has as many channels as another, in the same order.
    """

    dimensions = 2

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor], channel_classes: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.channels = [channels_of_class(label, channel_classes) for label in range(1, max(channel_classes) + 1)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, K, U, V)`` for ``(B, C, U, V)``."""
        seen = torch.stack([x[:, channels] for channels in self.channels], 1)
        logits = self.network(seen.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        own = (logits[:, 1] - logits[:, 0]).unflatten(0, seen.shape[:2])
        return torch.cat([torch.zeros_like(own[:, :1]), own], 1)


def channels_of_class(label: int, channel_classes: Sequence[int]) -> list[int]:
    """The channels of a class, and those of all classes."""
    return [channel for channel, own in enumerate(channel_classes) if own in (0, label)]
