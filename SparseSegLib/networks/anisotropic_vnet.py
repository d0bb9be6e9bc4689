"""A V-Net for thick slices: it halves within the slices first, and normalizes every volume by itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.networks.convolution import Convolution
from SparseSegLib.networks.objective import Loss

WIDTHS = (16, 32, 64, 96, 160)
SLOPE = 0.1  # of the leaky ReLUs
EPSILON = 1e-5
SUPERVISED = 3  # levels with deep supervision, the finest included
Size = tuple[int, int, int]


class AnisotropicVNet(nn.Module):
    """V-Net (Milletari et al. 2016) of 3×3×3 convolutions with instance norm, for voxels that are longer along z.

    Takes ``(B, in_channels, Z, Y, X)`` of any size and returns logits ``(B, classes, Z, Y, X)``.

    As in V-Net each stage learns a residual, convolutions with a stride halve the size, and transposed ones bring it
    back. Leaky ReLUs, which take less time, stand for V-Net's parametric ones. The finest ``flat`` levels convolve
    along y and x only and are halved along these; so the voxels become about cubes on the way down. Coarser levels
    predict too while the network trains (deep supervision).

    Parameters
    ----------
    in_channels, classes : int
    widths : channels of the levels, finest first
    flat : levels without convolutions along z
    """

    dimensions = 3
    padded = True

    def __init__(self, in_channels: int, classes: int, widths: Sequence[int] = WIDTHS, flat: int = 1) -> None:
        super().__init__()
        widths = list(widths)
        self.arguments = {"in_channels": in_channels, "classes": classes, "widths": widths, "flat": flat}
        strides = [_stride(level < flat) for level in range(len(widths) - 1)]
        self.factors = tuple(2 ** sum(stride[axis] == 2 for stride in strides) for axis in range(3))
        self.multiple = max(self.factors)
        self.enter = nn.Sequential(_convolution(in_channels, widths[0], flat > 0), *_active(widths[0]))
        self.left = nn.ModuleList(
            _Stage(width, width, 2 if level else 1, level < flat) for level, width in enumerate(widths)
        )
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv3d(here, below, stride, stride), *_active(below))
            for (here, below), stride in zip(pairwise(widths), strides, strict=True)
        )
        self.enlarge = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose3d(below, here, stride, stride), *_active(here))
            for (here, below), stride in zip(pairwise(widths), strides, strict=True)
        )
        self.right = nn.ModuleList(_Stage(2 * width, width, 2, level < flat) for level, width in enumerate(widths[:-1]))
        self.classify = nn.Conv3d(widths[0], classes, 1)
        self.classify_coarse = nn.ModuleList(nn.Conv3d(width, classes, 1) for width in widths[1:-1][: SUPERVISED - 1])
        self.apply(_initialize)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for a batch."""
        return _cropped(self.classify(self._features(x)[0]), x)

    def training_loss(self, image: torch.Tensor, target: torch.Tensor, loss: Loss) -> torch.Tensor:
        """The mean of ``loss`` over the levels, each with half the weight of the next finer one.

        The logits of coarser levels are enlarged to the size of ``target``, so that no label is lost.
        """
        features = self._features(image)
        total = loss(_cropped(self.classify(features[0]), image), target)
        weights = 1.0
        for depth, (classify, coarse) in enumerate(zip(self.classify_coarse, features[1:], strict=False), start=1):
            logits = F.interpolate(
                classify(coarse).float(), size=features[0].shape[2:], mode="trilinear", align_corners=False
            )
            total = total + 0.5**depth * loss(_cropped(logits, image), target)
            weights += 0.5**depth
        return total / weights

    def _features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of the right path's stages for a batch, finest first."""
        missing = [-side % factor for side, factor in zip(x.shape[2:], self.factors, strict=True)]
        padding = [part for after in reversed(missing) for part in (0, after)]
        x = self.enter(F.pad(x, padding, mode="replicate").contiguous(memory_format=torch.channels_last_3d))
        shortcuts = []
        for stage, reduce in zip(self.left[:-1], self.reduce, strict=True):
            shortcuts.append(stage(x, x))
            x = reduce(shortcuts[-1])
        x = self.left[-1](x, x)
        found: list[torch.Tensor] = []
        for enlarge, stage, shortcut in zip(
            reversed(self.enlarge), reversed(self.right), reversed(shortcuts), strict=True
        ):
            x = enlarge(x)
            x = stage(torch.cat([x, shortcut], 1), x + shortcut)
            found.insert(0, x)
        return found


class _Stage(nn.Module):
    """Convolutions that learn a residual, which is added to their output before the last non-linearity."""

    def __init__(self, before: int, channels: int, count: int, flat: bool) -> None:
        super().__init__()
        starts = [before, *[channels] * (count - 1)]
        self.convolutions = nn.ModuleList(
            nn.Sequential(_convolution(start, channels, flat), InstanceNorm(channels)) for start in starts
        )

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """``(B, channels, Z, Y, X)`` for ``(B, before, Z, Y, X)`` and what to add."""
        *first, last = self.convolutions
        for convolve in first:
            x = F.leaky_relu(convolve(x), SLOPE)
        return F.leaky_relu(last(x) + residual, SLOPE)


class InstanceNorm(nn.Module):
    """Every channel of every volume gets mean 0 and standard deviation 1, then a scale and an offset that are learned.

    The same as torch's own, but it keeps the memory layout, which makes it fast on a CPU, and takes a single voxel.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return torch.cat([self._normalized(one) for one in x.split(1)])

    def _normalized(self, x: torch.Tensor) -> torch.Tensor:
        """A batch norm of a single volume."""
        return torch.batch_norm(x, self.weight, self.bias, None, None, True, 0.0, EPSILON, True)


def _stride(flat: bool) -> Size:
    return (1, 2, 2) if flat else (2, 2, 2)


def _convolution(before: int, after: int, flat: bool) -> nn.Conv3d:
    return nn.Conv3d(before, after, (1, 3, 3), padding=(0, 1, 1)) if flat else Convolution(before, after, 3)


def _active(channels: int) -> list[nn.Module]:
    return [InstanceNorm(channels), nn.LeakyReLU(SLOPE)]


def _cropped(logits: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    z, y, x = image.shape[2:]
    return logits[..., :z, :y, :x]


def _initialize(layer: nn.Module) -> None:
    """He et al. (2015)."""
    if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(layer.weight, a=SLOPE)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
