"""The generalist: a 2D U-Net that segments a structure it has never seen, from its image and its annotation.

It sees one structure against the rest, so that any number of them can be predicted with the same weights; a first part
is the same for every image channel, and pools these. What the prior says is its first guess: the network adds to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.networks.slice_unet import double_convolution

MOST_CERTAIN = 0.98
"""What the prior says at most, from -1 to 1, where it is a first guess."""


@dataclass(frozen=True)
class Layout:
    """The order of the input channels of a structure: those of each image channel, and the shared ones.

    Attributes
    ----------
    gray : of an image channel, those that come first and are gray values
    image : of an image channel
    shared : of all image channels together
    hints : those of the shared ones that guess the structure, from -1 to 1
    """

    gray: int
    image: int
    shared: int
    hints: tuple[int, ...]

    def channels(self, count: int) -> int:
        """All of a structure, with so many image channels."""
        return count * self.image + self.shared


class Generalist(nn.Module):
    """U-Net on slices with pooled image channels and a first guess.

    Parameters
    ----------
    layout : of the input channels; a dictionary of its fields will do
    widths : channels at each level, finest first
    """

    dimensions = 2

    def __init__(self, layout: Layout | dict[str, Any], widths: tuple[int, ...] = (16, 32, 64, 128, 288)) -> None:
        super().__init__()
        self.layout = layout if isinstance(layout, Layout) else Layout(**{**layout, "hints": tuple(layout["hints"])})
        fields = {name: list(value) if name == "hints" else value for name, value in vars(self.layout).items()}
        self.arguments = {"layout": fields, "widths": list(widths)}
        self.multiple = 2 ** (len(widths) - 1)
        first = widths[0]
        self.stem = _convolution(self.layout.image, first)
        self.importance = nn.Conv2d(first, 1, 1)
        self.said = _convolution(self.layout.shared, first)
        self.analysis = nn.ModuleList(
            double_convolution(before, after) for before, after in zip((2 * first, *widths), widths, strict=False)
        )
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, 2) for below, here in upwards)
        self.synthesis = nn.ModuleList(double_convolution(2 * here, here) for _, here in upwards)
        self.classify = nn.Conv2d(first, 1, 1, bias=False)
        self.guess = nn.Conv2d(len(self.layout.hints), 1, 1, bias=False)
        nn.init.zeros_(self.classify.weight)
        nn.init.constant_(self.guess.weight, 1 / len(self.layout.hints))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, U, V)`` of the structure for ``(B, channels, U, V)``, with any number of image channels."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        image, shared = self._parted(x)
        x = torch.cat([self._pooled(image), self.said(shared)], 1)
        shortcuts = []
        for level, block in enumerate(self.analysis):
            x = block(F.max_pool2d(x, 2) if level else x)
            shortcuts.append(x)
        shortcuts.pop()
        for enlarge, block in zip(self.enlarge, self.synthesis, strict=True):
            x = block(torch.cat([enlarge(x), shortcuts.pop()], 1))
        hints = shared[:, list(self.layout.hints)].clamp(-MOST_CERTAIN, MOST_CERTAIN)
        return (self.classify(x) + self.guess(2 * torch.atanh(hints)))[:, 0, :height, :width]

    def _parted(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Image channels ``(B, C, image, U, V)``, and shared ones."""
        image, shared = x.tensor_split([x.shape[1] - self.layout.shared], 1)
        return image.unflatten(1, (-1, self.layout.image)), shared

    def _pooled(self, image: torch.Tensor) -> torch.Tensor:
        """The features of the image channels, each with a weight of its own at every pixel."""
        count = image.shape[1]
        features = self.stem(image.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        if count == 1:
            return features
        weights = self.importance(features).unflatten(0, (-1, count)).softmax(1)
        return (features.unflatten(0, (-1, count)) * weights).sum(1)


class EachStructure(nn.Module):
    """Predicts several structures, each against the rest: ``(B, (K - 1) · L, U, V)`` to logits ``(B, K, U, V)``.

    Parameters
    ----------
    network : Generalist
    structures : how many
    """

    def __init__(self, network: Generalist, structures: int) -> None:
        super().__init__()
        self.network = network
        self.structures = structures

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, that of background 0."""
        found = [self.network(part) for part in x.chunk(self.structures, 1)]
        return torch.stack([torch.zeros_like(found[0]), *found], 1)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
