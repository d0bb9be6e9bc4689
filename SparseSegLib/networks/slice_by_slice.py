"""The 2D U-Net in the engine for volumes: every slice by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from SparseSegLib.networks.unet2d import UNet2D


class SliceBySlice(nn.Module):
    """A 2D U-Net that segments each axial slice of a volume by itself: the baseline "2D with BN" of the 3D U-Net paper.

    Takes ``(B, in_channels, Z, Y, X)`` of any size and returns logits ``(B, classes, Z, Y, X)``.

    Parameters
    ----------
    arguments : of :class:`~SparseSegLib.networks.unet2d.UNet2D`; it is always padded
    """

    dimensions = 3
    padded = True

    def __init__(self, in_channels: int, classes: int, **arguments: Any) -> None:
        super().__init__()
        self.network = UNet2D(in_channels, classes, **{**arguments, "padded": True})
        self.arguments = self.network.arguments
        self.multiple = self.network.multiple

    def to(self, *args: Any, **kwargs: Any) -> SliceBySlice:
        """As of any module, but that the weights of a 2D network cannot have the memory layout of volumes."""
        if kwargs.get("memory_format") is torch.channels_last_3d:
            kwargs["memory_format"] = torch.channels_last
        return super().to(*args, **kwargs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for a batch."""
        return torch.stack([self.network(plane) for plane in x.unbind(2)], 2)
