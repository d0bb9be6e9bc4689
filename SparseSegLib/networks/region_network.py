"""Any network with a sigmoid for each region instead of a softmax over the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from SparseSegLib.networks.objective import Loss, training_loss
from SparseSegLib.networks.regions import region_scheme

SHARED = ("dimensions", "padded", "margin", "multiple", "valid_size")


class RegionNetwork(nn.Module):
    """Learns regions that may be nested, and predicts the classes that they are made of.

    Takes what the network takes and returns logits of the classes, see
    :meth:`~SparseSegLib.networks.regions.RegionScheme.class_logits`.

    The network has an output for each region and one for the background; a region's logit is its own output less the
    background's. So a network with a single region is that of two classes, and one whose input are the probabilities of
    its classes (recurrent refinement) gets the regions'.

    Parameters
    ----------
    make : makes the network for a number of input channels and of outputs
    in_channels, classes : int
    regions : "nested" (each class and all after it are a region), "separate" (each class is one), or the classes of
        each region, as in ("1+2+3", "2+3", "3")
    """

    def __init__(
        self, make: Callable[[int, int], nn.Module], in_channels: int, classes: int, regions: str | Sequence[str]
    ) -> None:
        super().__init__()
        self.scheme = region_scheme(regions, classes)
        self.network = make(in_channels, 1 + len(self.scheme.labels))
        own: dict[str, Any] = self.network.arguments  # type: ignore[assignment]
        self.arguments = {**own, "classes": classes, "regions": regions if isinstance(regions, str) else list(regions)}
        for name in SHARED:
            if hasattr(self.network, name):
                setattr(self, name, getattr(self.network, name))

    def to(self, *args: Any, **kwargs: Any) -> RegionNetwork:
        """As of the network, which chooses the memory layout of its weights."""
        self.network.to(*args, **kwargs)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the classes for a batch."""
        return self.scheme.class_logits(self.region_logits(x))

    def region_logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, R, ...)`` of the regions, before their sigmoids."""
        return _above_background(self.network(x))

    def training_loss(self, image: torch.Tensor, target: torch.Tensor, loss: Loss) -> torch.Tensor:
        """The network's own objective, or ``loss``; this maps logits of the *regions* and a target to a number."""

        def of_regions(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return loss(_above_background(output), labels)

        return training_loss(self.network, image, target, of_regions)


def _above_background(output: torch.Tensor) -> torch.Tensor:
    return output[:, 1:] - output[:, :1]
