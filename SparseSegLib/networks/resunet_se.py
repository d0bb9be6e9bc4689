"""The U-Net of the thesis on radiotherapy targets (Tsinghua, 2019): residual, squeeze-and-excitation, recurrent."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.networks.convolution import Convolution
from SparseSegLib.networks.objective import Loss


class ResUNetSE(nn.Module):
    """3D U-Net with three additions, each of which can be left out; with its defaults the thesis's final network.

    Takes ``(B, in_channels, Z, Y, X)`` of any size and returns logits ``(B, classes, Z, Y, X)``.

    Levels of 16, 32, 64, 96, 128 channels have two blocks of a 3×3×3 convolution, ELU and batch norm. Max pooling
    halves the size after each of the five, transposed convolutions bring it back, and two more blocks are the bridge
    between them (section 2.2.1). Shortcuts are concatenated. Batch norm uses the current statistics at test time too,
    as in training, where a batch is one volume.

    Parameters
    ----------
    widths : channels of the levels, finest first
    residual : add the input of two blocks to their output, through a 1×1×1 convolution where the channels differ
    squeeze : weight the channels of two blocks by their means (squeeze-and-excitation)
    passes : forward passes over the image; the first one beside zeros, then beside the probabilities of the classes
        that it found before (recurrent refinement). 1 for a plain network.
    reduction : channels of a level to those between the two layers of squeeze-and-excitation
    """

    dimensions = 3
    padded = True

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: Sequence[int] = (16, 32, 64, 96, 128),
        residual: bool = True,
        squeeze: bool = True,
        passes: int = 3,
        reduction: int = 8,
    ) -> None:
        super().__init__()
        self.arguments = {
            "in_channels": in_channels,
            "classes": classes,
            "widths": list(widths),
            "residual": residual,
            "squeeze": squeeze,
            "passes": passes,
            "reduction": reduction,
        }
        self.passes = passes
        self.fed_back = classes - 1 if passes > 1 else 0
        self.multiple = 2 ** len(widths)

        def level(before: int, after: int) -> _Level:
            return _Level(before, after, residual, reduction if squeeze else 0)

        starts = [in_channels + self.fed_back, *widths[:-1]]
        self.analysis = nn.ModuleList(level(before, after) for before, after in zip(starts, widths, strict=True))
        self.bridge = level(widths[-1], widths[-1])
        upwards = list(reversed(widths))
        below = [widths[-1], *upwards[:-1]]
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose3d(before, here, 2, stride=2) for before, here in zip(below, upwards, strict=True)
        )
        self.synthesis = nn.ModuleList(level(2 * here, here) for here in upwards)
        self.classify = nn.Conv3d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the last pass for a batch."""
        return self.refine(x)[-1]

    def refine(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Logits ``(B, classes, Z, Y, X)`` of each pass."""
        z, y, size = x.shape[-3:]
        missing = [part for side in (size, y, z) for part in (0, -side % self.multiple)]
        if max(size + missing[1], y + missing[3], z + missing[5]) == self.multiple:
            missing[1] += self.multiple  # a single voxel would reach the bridge, and batch norm needs two
        x = F.pad(x, missing, mode="replicate")
        found = x.new_zeros(len(x), self.fed_back, *x.shape[2:])
        outputs = []
        for _ in range(self.passes):
            logits = self._once(torch.cat([x, found], 1))
            found = logits.softmax(1)[:, 1:]
            outputs.append(logits[..., :z, :y, :size])
        return outputs

    def training_loss(self, image: torch.Tensor, target: torch.Tensor, loss: Loss) -> torch.Tensor:
        """The mean over the passes of ``loss``, for the thesis cross-entropy + Dice (section 2.2.2)."""
        return torch.stack([loss(logits, target) for logits in self.refine(image)]).mean()

    def _once(self, x: torch.Tensor) -> torch.Tensor:
        shortcuts = []
        for level in self.analysis:
            x = level(x)
            shortcuts.append(x)
            x = F.max_pool3d(x, 2)
        x = self.bridge(x)
        for enlarge, level in zip(self.enlarge, self.synthesis, strict=True):
            x = level(torch.cat([enlarge(x), shortcuts.pop()], 1))
        return self.classify(x)


class _Level(nn.Module):
    """Two blocks of convolution, ELU and batch norm, as a residual and with weighted channels on request."""

    def __init__(self, before: int, after: int, residual: bool, reduction: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*_block(before, after), *_block(after, after))
        self.excite = _Excitation(after, reduction) if reduction else None
        self.shortcut = (nn.Conv3d(before, after, 1) if before != after else nn.Identity()) if residual else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, after, Z, Y, X)`` for ``(B, before, Z, Y, X)``."""
        y = self.blocks(x)
        if self.excite is not None:
            y = self.excite(y)
        return y if self.shortcut is None else y + self.shortcut(x)


class _Excitation(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018): each channel times a weight computed from the means of all channels."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        between = max(2, channels // reduction)
        layers = [nn.Linear(channels, between), nn.ELU(), nn.Linear(between, channels), nn.Sigmoid()]
        self.excitation = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return x * self.excitation(x.mean((2, 3, 4)))[:, :, None, None, None]


def _block(before: int, after: int) -> list[nn.Module]:
    return [Convolution(before, after, 3), nn.ELU(), nn.BatchNorm3d(after, track_running_stats=False)]
