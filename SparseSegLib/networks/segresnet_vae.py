"""The encoder-decoder with a variational auto-encoder branch that reconstructs the image (Myronenko, BraTS 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks.convolution import Convolution
from SparseSegLib.networks.objective import Loss
from SparseSegLib.networks.regions import region_scheme
from SparseSegLib.training.losses import region_dice

GROUP = 8  # channels
SQUEEZED = 16  # channels of the end point before it becomes numbers
WEIGHT = 0.1  # of the branch's two terms in the loss
POWER = 0.9


class SegResNetVAE(nn.Module):
    """Asymmetric residual encoder-decoder; with its defaults and nested regions exactly the paper's.

    Takes ``(B, in_channels, Z, Y, X)`` of any size and returns logits ``(B, classes, Z, Y, X)``; the paper has four
    channels and 160×192×128 voxels of 1 mm.

    Blocks are group norm, ReLU and a 3×3×3 convolution, twice, with the input added. The encoder starts with a
    convolution to 32 channels and dropout; its levels of 1, 2, 2, 4 blocks have 32, 64, 128, 256 channels, with
    convolutions of stride 2 between them. Each level of the decoder halves the channels (1×1×1), doubles the size
    (trilinear), adds the encoder's output and has one block; a 1×1×1 convolution to the regions ends it (section 3).

    Regions have sigmoids of their own. The logits of the classes are made of theirs, see
    :meth:`~SparseSegLib.networks.regions.RegionScheme.class_logits`.

    The branch of a variational auto-encoder takes the end point to 128 means and 128 standard deviations, draws from
    them, and reconstructs the image through a decoder without shortcuts (table 1). Only :meth:`training_loss` runs it.

    Parameters
    ----------
    base : channels of the first level
    blocks : of each level of the encoder
    dropout : after the first convolution
    regions : "nested" (each contains the next), "separate" (a region for each class), or the classes of each region, as
        in ("1+2+3", "2+3", "3")
    branch : whether there is a branch to reconstruct the image
    grid : (z, y, x) to which the branch brings the end point's half, so that patches of any size suit it; the default
        is what the paper's size gives, and nothing is changed there
    latent : means, and as many standard deviations
    """

    dimensions = 3
    padded = True
    has_regions = True  # of its own: it needs no wrapper for them

    def __init__(
        self,
        in_channels: int,
        classes: int,
        base: int = 32,
        blocks: Sequence[int] = (1, 2, 2, 4),
        dropout: float = 0.2,
        regions: str | Sequence[str] = "separate",
        branch: bool = True,
        grid: Sequence[int] = (8, 12, 10),
        latent: int = 128,
    ) -> None:
        super().__init__()
        self.arguments = {
            "in_channels": in_channels,
            "classes": classes,
            "base": base,
            "blocks": list(blocks),
            "dropout": dropout,
            "regions": regions if isinstance(regions, str) else list(regions),
            "branch": branch,
            "grid": list(grid),
            "latent": latent,
        }
        self.scheme = region_scheme(regions, classes)
        self.multiple = 2 ** (len(blocks) - 1)
        widths = [base * 2**level for level in range(len(blocks))]  # 32, 64, 128, 256
        self.stem = Convolution(in_channels, base, 3)
        self.dropout = nn.Dropout3d(dropout)
        self.reduce = nn.ModuleList(nn.Conv3d(here, below, 3, stride=2, padding=1) for here, below in pairwise(widths))
        self.encoder = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(count))) for width, count in zip(widths, blocks, strict=True)
        )
        self.enlarge = nn.ModuleList(nn.Conv3d(below, here, 1) for here, below in reversed(list(pairwise(widths))))
        self.decoder = nn.ModuleList(_Block(width) for width in widths[-2::-1])
        self.classify = nn.Conv3d(base, len(self.scheme.labels), 1)
        self.branch = _ImageBranch(in_channels, widths, (grid[0], grid[1], grid[2]), latent) if branch else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the classes for a batch."""
        return self.scheme.class_logits(self.region_logits(x))

    def region_logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, R, Z, Y, X)`` of the regions, before their sigmoids."""
        size = x.shape[-3:]
        end, shortcuts = self.encode(self._filled(x))
        return self._decode(end, shortcuts)[..., : size[0], : size[1], : size[2]]

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The end point ``(B, 8·base, Z/8, Y/8, X/8)`` and the output of each finer level, finest first."""
        x = self.encoder[0](self.dropout(self.stem(x)))
        shortcuts = []
        for reduce, level in zip(self.reduce, self.encoder[1:], strict=True):
            shortcuts.append(x)
            x = level(reduce(x))
        return x, shortcuts

    def training_loss(self, image: torch.Tensor, target: torch.Tensor, loss: Loss | None = None) -> torch.Tensor:
        """Soft Dice summed over the regions + 0.1 · L2 + 0.1 · KL (section 3.4); ``loss`` is not needed.

        L2 is the mean squared difference between image and reconstruction, and KL the divergence from the standard
        normal distribution, divided by the number of voxels. ``target`` is ``(B, Z, Y, X)`` with ``UNLABELED``.
        """
        z, y, x = image.shape[-3:]
        filled = self._filled(image)
        end, shortcuts = self.encode(filled)
        regions = self._decode(end, shortcuts)[..., :z, :y, :x]
        dice = region_dice(regions.float(), self.scheme.regions_of(target), target != UNLABELED)
        if self.branch is None:
            return dice
        rebuilt, mean, deviation = (part.float() for part in self.branch(end))
        l2 = F.mse_loss(rebuilt[..., :z, :y, :x], image)
        divergence = mean**2 + deviation**2 - 2 * deviation.log() - 1
        return dice + WEIGHT * l2 + WEIGHT * divergence.sum(1).mean() / (z * y * x)

    def _filled(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` with its last voxels repeated until all levels halve even sizes."""
        missing = [part for side in reversed(x.shape[-3:]) for part in (0, -side % self.multiple)]
        return F.pad(x, missing, mode="replicate")

    def _decode(self, x: torch.Tensor, shortcuts: list[torch.Tensor]) -> torch.Tensor:
        for enlarge, block, shortcut in zip(self.enlarge, self.decoder, reversed(shortcuts), strict=True):
            x = block(_doubled(enlarge(x)) + shortcut)
        return self.classify(x)


class _Block(nn.Module):
    """Group norm, ReLU, 3×3×3 convolution, twice; the input is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [[_norm(channels), nn.ReLU(inplace=True), Convolution(channels, channels, 3)] for _ in range(2)]
        self.layers = nn.Sequential(*layers[0], *layers[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return x + self.layers(x)


class _ImageBranch(nn.Module):
    """From the end point to a few numbers, and from numbers drawn around them to the image (table 1)."""

    def __init__(self, in_channels: int, widths: list[int], grid: tuple[int, int, int], latent: int) -> None:
        super().__init__()
        self.grid = grid
        cells = SQUEEZED * math.prod(grid)
        self.squeeze = nn.Sequential(
            _norm(widths[-1]), nn.ReLU(), nn.Conv3d(widths[-1], SQUEEZED, 3, stride=2, padding=1)
        )
        self.describe = nn.Linear(cells, 2 * latent)
        self.spread = nn.Sequential(nn.Linear(latent, cells), nn.ReLU())
        self.widen = nn.Conv3d(SQUEEZED, widths[-1], 1)
        self.enlarge = nn.ModuleList(nn.Conv3d(below, here, 1) for here, below in reversed(list(pairwise(widths))))
        self.decoder = nn.ModuleList(_Block(width) for width in widths[-2::-1])
        self.rebuild = nn.Conv3d(widths[0], in_channels, 1)

    def forward(self, end: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The image ``(B, in_channels, Z, Y, X)``; means and standard deviations, ``(B, latent)``."""
        numbers = self.describe(F.adaptive_avg_pool3d(self.squeeze(end), self.grid).flatten(1))
        mean, spread = numbers.chunk(2, 1)
        deviation = F.softplus(spread) + 1e-4  # an exponential would let single steps overshoot without bound
        drawn = mean + deviation * torch.randn_like(mean)
        x = self.widen(self.spread(drawn).view(-1, SQUEEZED, *self.grid))
        x = F.interpolate(x, size=end.shape[-3:], mode="trilinear")
        for enlarge, block in zip(self.enlarge, self.decoder, strict=True):
            x = block(_doubled(enlarge(x)))
        return self.rebuild(x), mean, deviation


def polynomial_rate(step: int, fraction: float, power: float = POWER) -> float:
    """Factor on the learning rate after a ``fraction`` (0 to 1) of the training: (1 − e/Nₑ)^0.9 (section 3.5).

    ``step`` changes nothing: the paper counts passes over the cases.
    """
    return (1 - min(1.0, max(0.0, fraction))) ** power


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // math.gcd(channels, GROUP), channels)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="trilinear")
