"""V-Net (Milletari et al., 3DV 2016)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.networks.convolution import Convolution

Norm = Literal["none", "group"]

LEFT = (1, 2, 3, 3, 3)  # convolutions of the stages, finest first
RIGHT = (3, 3, 2, 1)  # coarsest first
GROUP = 8


class VNet(nn.Module):
    """V-Net; with its defaults exactly the paper's.

    Takes ``(B, in_channels, Z, Y, X)`` of any size and returns logits ``(B, classes, Z, Y, X)``; the paper has one
    channel, two classes and 64×128×128 voxels of 1.5×1×1 mm.

    The left path has five stages of 1, 2, 3, 3, 3 convolutions with 16, 32, 64, 128, 256 channels, the right path four
    of 3, 3, 2, 1 convolutions with 256, 128, 64, 32 channels, all 5×5×5. Each stage's input is added to the output of
    its last convolution, before the non-linearity. Between stages 2×2×2 convolutions with stride 2 halve the size and
    double the channels, and transposed ones bring it back, to as many channels as the left path has there; these are
    concatenated. PReLU with a slope for each channel follows all of them; a 1×1×1 convolution ends the network
    (section 2, figure 2). The image is added to every channel of the first stage; with several image channels,
    channel k gets number k modulo their count.

    Parameters
    ----------
    base : channels of the first stage
    kernel : size of the stages' convolutions, odd
    norm : "none" as in the paper, or "group" (group norm, 8 channels per group, after each convolution of the stages)
    """

    dimensions = 3
    padded = True
    multiple = 2 ** (len(LEFT) - 1)

    def __init__(self, in_channels: int, classes: int, base: int = 16, kernel: int = 5, norm: Norm = "none") -> None:
        super().__init__()
        self.arguments = {"in_channels": in_channels, "classes": classes, "base": base, "kernel": kernel, "norm": norm}
        widths = [base * 2**level for level in range(len(LEFT))]  # 16, 32, 64, 128, 256
        starts = [in_channels, *widths[1:]]
        self.left = nn.ModuleList(
            _Stage(start, width, count, kernel, norm) for start, width, count in zip(starts, widths, LEFT, strict=True)
        )
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv3d(here, below, 2, stride=2), nn.PReLU(below)) for here, below in pairwise(widths)
        )
        outputs = [2 * width for width in widths[-2::-1]]  # 256, 128, 64, 32
        self.enlarge = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose3d(below, here // 2, 2, stride=2), nn.PReLU(here // 2))
            for below, here in pairwise([widths[-1], *outputs])
        )
        self.right = nn.ModuleList(
            _Stage(width, width, count, kernel, norm) for width, count in zip(outputs, RIGHT, strict=True)
        )
        self.classify = nn.Conv3d(outputs[-1], classes, 1)
        self.apply(_initialize)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for a batch."""
        size = x.shape[-3:]
        missing = [part for side in reversed(size) for part in (0, -side % self.multiple)]
        x = F.pad(x, missing, mode="replicate").contiguous(memory_format=torch.channels_last_3d)
        shortcuts = []
        for stage, reduce in zip(self.left[:-1], self.reduce, strict=True):
            x = stage(x)
            shortcuts.append(x)
            x = reduce(x)
        x = self.left[-1](x)
        for enlarge, stage in zip(self.enlarge, self.right, strict=True):
            x = stage(torch.cat([enlarge(x), shortcuts.pop()], 1))
        return self.classify(x)[..., : size[0], : size[1], : size[2]]


class _Stage(nn.Module):
    """Convolutions that learn a residual: the input is added to the output of the last one (section 2)."""

    def __init__(self, before: int, channels: int, count: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.channels = channels
        starts = [before, *[channels] * (count - 1)]
        self.convolutions = nn.ModuleList(
            nn.Sequential(Convolution(start, channels, kernel), _norm(norm, channels)) for start in starts
        )
        self.activations = nn.ModuleList(nn.PReLU(channels) for _ in starts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, channels, Z, Y, X)`` for ``(B, before, Z, Y, X)``."""
        residual = x
        *first, last = zip(self.convolutions, self.activations, strict=True)
        for convolve, activate in first:
            x = activate(convolve(x))
        convolve, activate = last
        return activate(convolve(x) + self._repeated(residual))

    def _repeated(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` with as many channels as the stage has; a single one is left to broadcasting."""
        if x.shape[1] in (1, self.channels):
            return x
        return x[:, torch.arange(self.channels, device=x.device) % x.shape[1]]


def _norm(norm: Norm, channels: int) -> nn.Module:
    if norm == "none":
        return nn.Identity()
    return nn.GroupNorm(channels // math.gcd(channels, GROUP), channels)


def _initialize(layer: nn.Module) -> None:
    """Normal weights with standard deviation √(1/N), N the inputs of a neuron: residuals keep signals up."""
    if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        inputs = layer.weight[0].numel() if isinstance(layer, nn.Conv3d) else layer.in_channels
        nn.init.normal_(layer.weight, std=math.sqrt(1 / inputs))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
