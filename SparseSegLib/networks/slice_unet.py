"""A small padded 2D U-Net for slices with their neighbors and prior channels: what `densify` trains on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class SliceUNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with padding, batch norm, running statistics and few channels.

    Takes ``(B, in_channels, U, V)`` of any size and returns logits ``(B, classes, U, V)``.

    Parameters
    ----------
    in_channels, classes : int
    widths : channels at each level, finest first; one more level halves the resolution once more.
    """

    dimensions = 2

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...] = (16, 32, 48, 64)) -> None:
        super().__init__()
        self.arguments = {"in_channels": in_channels, "classes": classes, "widths": list(widths)}
        self.multiple = 2 ** (len(widths) - 1)
        self.analysis = nn.ModuleList(
            double_convolution(before, after) for before, after in zip((in_channels, *widths), widths, strict=False)
        )
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, 2) for below, here in upwards)
        self.synthesis = nn.ModuleList(double_convolution(2 * here, here) for _, here in upwards)
        self.classify = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, classes, U, V)`` for ``(B, in_channels, U, V)``."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        shortcuts = []
        for level, block in enumerate(self.analysis):
            x = block(F.max_pool2d(x, 2) if level else x)
            shortcuts.append(x)
        shortcuts.pop()
        for enlarge, block in zip(self.enlarge, self.synthesis, strict=True):
            x = block(torch.cat([enlarge(x), shortcuts.pop()], 1))
        return self.classify(x)[..., :height, :width]


def double_convolution(before: int, after: int) -> nn.Sequential:
    """Two padded 3×3 convolutions with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
