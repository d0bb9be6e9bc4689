"""The 2D U-Net (Ronneberger et al., MICCAI 2015), the baseline that treats every slice by itself."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.networks.valid_sizes import ValidSizes


class UNet2D(ValidSizes):
    """2D U-Net; with its defaults the paper's: valid convolutions, 64 to 1024 channels, 23 convolutional layers.

    Takes ``(B, in_channels, Y, X)`` and returns logits ``(B, classes, Y', X')``: 572×572 pixels become 388×388.

    Parameters
    ----------
    base : channels at the finest level
    levels : resolutions
    padded : keep the size (any size goes in)
    norm : "none" as in the paper, or "batch" (statistics of the current batch at test time too, as in the 3D U-Net)
    dropout : at the end of the contracting path
    """

    dimensions = 2

    def __init__(
        self,
        in_channels: int,
        classes: int,
        base: int = 64,
        levels: int = 5,
        padded: bool = False,
        norm: Literal["none", "batch"] = "none",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.arguments = {
            "in_channels": in_channels,
            "classes": classes,
            "base": base,
            "levels": levels,
            "padded": padded,
            "norm": norm,
            "dropout": dropout,
        }
        self.padded = padded
        self.levels = levels
        self.multiple = 2 ** (levels - 1)
        widths = [base * 2**level for level in range(levels)]

        def pair(before: int, after: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (before, after):
                layers.append(nn.Conv2d(channels, after, 3, padding=1 if padded else 0))
                layers += [nn.BatchNorm2d(after, track_running_stats=False)] if norm == "batch" else []
                layers.append(nn.ReLU(inplace=True))
            return nn.Sequential(*layers)

        self.analysis = nn.ModuleList(
            pair(before, after) for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.dropout = nn.Dropout2d(dropout)
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for below, here in upwards)
        self.synthesis = nn.ModuleList(pair(2 * here, here) for _, here in upwards)
        self.classify = nn.Conv2d(base, classes, 1)
        self.apply(_initialize)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for a batch."""
        height, width = x.shape[-2:]
        if self.padded:
            x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        shortcuts = []
        for level, block in enumerate(self.analysis):
            x = block(F.max_pool2d(x, 2) if level else x)
            shortcuts.append(x)
        x = self.dropout(shortcuts.pop())
        for enlarge, block in zip(self.enlarge, self.synthesis, strict=True):
            x = enlarge(x)
            shortcut = shortcuts.pop()
            top, left = ((big - small) // 2 for big, small in zip(shortcut.shape[-2:], x.shape[-2:], strict=True))
            shortcut = shortcut[..., top : top + x.shape[-2], left : left + x.shape[-1]]
            x = block(torch.cat([shortcut, x], 1))
        x = self.classify(x)
        return x[..., :height, :width] if self.padded else x


def _initialize(layer: nn.Module) -> None:
    """Normal weights with standard deviation √(2/N), N the inputs of a neuron (section 3)."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        inputs = layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else layer.in_channels
        nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
