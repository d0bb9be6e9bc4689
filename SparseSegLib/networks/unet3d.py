"""The 3D U-Net (Çiçek et al., MICCAI 2016)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.networks.convolution import Convolution
from SparseSegLib.networks.valid_sizes import ValidSizes

Norm = Literal["batch", "group", "none"]

GROUP = 8


class UNet3D(ValidSizes):
    """3D U-Net; with its defaults exactly the paper's.

    Takes ``(B, in_channels, Z, Y, X)`` and returns logits ``(B, classes, Z', Y', X')``. Without padding the output is
    smaller by ``2 · margin`` on each axis, and the input's size must suit :meth:`valid_size`.

    Two 3×3×3 convolutions per level, each followed by batch norm and ReLU; 2×2×2 max pooling; channels double before
    each pooling (32→64, 64→128, 128→256, 256→512); 2×2×2 up-convolutions that keep the channels; shortcuts are cropped
    and concatenated; a 1×1×1 convolution at the end. For 3 channels and 3 classes there are 19 069 955 parameters:
    biases on the 3×3×3 and 1×1×1 convolutions, none on the up-convolutions, batch norm without affine terms.

    Parameters
    ----------
    base : channels of the very first convolution
    levels : resolutions
    padded : keep the size (any size goes in)
    norm : "batch", "group" (8 channels per group) or "none". Batch norm uses the statistics of the current batch at
        test time too (section 2).
    affine : whether the norm has weights of its own
    """

    dimensions = 3

    def __init__(
        self,
        in_channels: int,
        classes: int,
        base: int = 32,
        levels: int = 4,
        padded: bool = False,
        norm: Norm = "batch",
        affine: bool = False,
    ) -> None:
        super().__init__()
        self.arguments = {
            "in_channels": in_channels,
            "classes": classes,
            "base": base,
            "levels": levels,
            "padded": padded,
            "norm": norm,
            "affine": affine,
        }
        self.padded = padded
        self.levels = levels
        self.multiple = 2 ** (levels - 1)

        def pair(before: int, between: int, after: int) -> nn.Sequential:
            return nn.Sequential(
                *_convolution(before, between, padded, norm, affine),
                *_convolution(between, after, padded, norm, affine),
            )

        widths = [base * 2**level for level in range(levels + 1)]  # 32, 64, 128, 256, 512
        starts = [in_channels, *widths[1:-1]]
        self.analysis = nn.ModuleList(
            pair(start, widths[level], widths[level + 1]) for level, start in enumerate(starts)
        )
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose3d(width, width, 2, stride=2, bias=False) for width in reversed(widths[2:])
        )
        self.synthesis = nn.ModuleList(
            pair(below + here, here, here) for below, here in zip(widths[:1:-1], widths[-2:0:-1], strict=True)
        )
        self.classify = nn.Conv3d(widths[1], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for a batch."""
        size = x.shape[-3:]
        if self.padded:
            missing = [part for side in reversed(size) for part in (0, -side % self.multiple)]
            x = F.pad(x, missing, mode="replicate")
        shortcuts = []
        for level, block in enumerate(self.analysis):
            x = block(F.max_pool3d(x, 2) if level else x)
            shortcuts.append(x)
        shortcuts.pop()
        for enlarge, block in zip(self.enlarge, self.synthesis, strict=True):
            x = enlarge(x)
            x = block(torch.cat([_center(shortcuts.pop(), x.shape[-3:]), x], 1))
        x = self.classify(x)
        return x[..., : size[0], : size[1], : size[2]] if self.padded else x


def _convolution(before: int, after: int, padded: bool, norm: Norm, affine: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [Convolution(before, after, 3) if padded else nn.Conv3d(before, after, 3)]
    if norm == "batch":
        layers.append(nn.BatchNorm3d(after, affine=affine, track_running_stats=False))
    elif norm == "group":
        layers.append(nn.GroupNorm(after // math.gcd(after, GROUP), after, affine=affine))
    return [*layers, nn.ReLU(inplace=True)]


def _center(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """The middle part of ``x`` that has the spatial ``size``."""
    for axis, wanted in zip(range(x.ndim - len(size), x.ndim), size, strict=True):
        x = x.narrow(axis, (x.shape[axis] - wanted) // 2, wanted)
    return x
