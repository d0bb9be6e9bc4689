"""A residual 3D U-Net that halves the resolution in its very first layer (Kerfoot et al., STACOM 2018).

Small: it learns one small volume from few labels, and a step of it is cheap on a CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.networks.convolution import Convolution


class ResidualUNet3D(nn.Module):
    """U-Net of residual units with strided convolutions on the way down and transposed ones on the way up.

    Takes ``(B, in_channels, Z, Y, X)`` of any size and returns logits ``(B, classes, Z, Y, X)``. Unlike in the paper
    the last transposed convolution returns the logits (units at full resolution take a fifth of the time and add
    nothing), and leaky ReLUs, which take less time, stand for parametric ones.

    Parameters
    ----------
    in_channels, classes : int
    widths : channels at one half of the resolution, one quarter and so on
    """

    dimensions = 3

    def __init__(self, in_channels: int, classes: int, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        widths = list(widths)
        self.arguments = {"in_channels": in_channels, "classes": classes, "widths": widths}
        self.multiple = 2 ** len(widths)
        self.analysis = nn.ModuleList(
            ResidualUnit(before, after, stride=2) for before, after in itertools.pairwise([in_channels, *widths])
        )
        self.bottom = ResidualUnit(widths[-1], 2 * widths[-1])
        joined = [3 * widths[-1], *(2 * width for width in reversed(widths[:-1]))]
        self.enlarge = nn.ModuleList(
            nn.Sequential(_upsampling(before, after), *_norm(after))
            for before, after in zip(joined, reversed(widths[:-1]), strict=False)
        )
        self.synthesis = nn.ModuleList(ResidualUnit(width, width, convolutions=1) for width in reversed(widths[:-1]))
        self.output = _upsampling(joined[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, classes, Z, Y, X)`` for ``(B, in_channels, Z, Y, X)``."""
        depth, height, width = x.shape[-3:]
        x = F.pad(x, [part for side in (width, height, depth) for part in (0, -side % self.multiple)])
        shortcuts = []
        for unit in self.analysis:
            x = unit(x)
            shortcuts.append(x)
        x = torch.cat([self.bottom(x), shortcuts.pop()], 1)
        for enlarge, unit in zip(self.enlarge, self.synthesis, strict=True):
            x = torch.cat([unit(enlarge(x)), shortcuts.pop()], 1)
        return torch.as_tensor(self.output(x))[..., :depth, :height, :width]


class ResidualUnit(nn.Module):
    """Convolutions with norm and leaky ReLU, the first one with the stride, and a shortcut past them."""

    def __init__(self, before: int, after: int, stride: int = 1, convolutions: int = 2) -> None:
        super().__init__()
        widths = [before] + [after] * convolutions
        strides = [stride] + [1] * (convolutions - 1)
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(_convolution(here, there, step), *_norm(there))
                for (here, there), step in zip(itertools.pairwise(widths), strides, strict=True)
            )
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = _convolution(before, after, stride)
        elif before != after:
            self.shortcut = nn.Conv3d(before, after, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, after, z, y, x)`` for ``(B, before, Z, Y, X)``."""
        return torch.as_tensor(self.convolutions(x) + self.shortcut(x))


def _convolution(before: int, after: int, stride: int) -> nn.Conv3d:
    return Convolution(before, after, 3) if stride == 1 else nn.Conv3d(before, after, 3, stride, padding=1)


def _upsampling(before: int, after: int) -> nn.ConvTranspose3d:
    return nn.ConvTranspose3d(before, after, 3, 2, padding=1, output_padding=1)


def _norm(width: int) -> list[nn.Module]:
    """Instance norm, which torch's own refuses to take of a single voxel, and a leaky ReLU."""
    return [nn.GroupNorm(width, width, affine=False), nn.LeakyReLU(0.1, inplace=True)]
