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
    """The order of the input channels of a structure: those of each image channel, the shared ones, the place (3).

    Attributes
    ----------
    seen : of an image channel, those that come first and are of the image alone
    gray : of an image channel, those that come first and are gray values
    image : of an image channel
    shared : of all image channels together
    hints : those of the shared ones that guess the structure, from -1 to 1
    """

    seen: int
    gray: int
    image: int
    shared: int
    hints: tuple[int, ...]

    def channels(self, count: int) -> int:
        """All of a structure, with so many image channels."""
        return count * self.image + self.shared + 3


@dataclass(frozen=True)
class Memory:
    """Annotated slices to attend to: of their pixels at a quarter of the resolution, ``N`` in all.

    Attributes
    ----------
    keys : (B, N, features)
    values : (B, N, 2) how much of a pixel is inside and outside of the structure
    places : (B, N, 3)
    unknown : (B, N) bool, those that are not to be attended to
    """

    keys: torch.Tensor
    values: torch.Tensor
    places: torch.Tensor
    unknown: torch.Tensor


class Generalist(nn.Module):
    """U-Net on slices with pooled image channels and a first guess; with attention to annotated slices if wanted.

    Parameters
    ----------
    layout : of the input channels; a dictionary of its fields will do
    widths : channels at each level, finest first
    attention : features of a key, and of what is asked; 0 for none
    heads : of the attention
    """

    dimensions = 2

    def __init__(
        self,
        layout: Layout | dict[str, Any],
        widths: tuple[int, ...] = (16, 32, 64, 128, 288),
        attention: int = 0,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.layout = layout if isinstance(layout, Layout) else Layout(**{**layout, "hints": tuple(layout["hints"])})
        fields = {name: list(value) if name == "hints" else value for name, value in vars(self.layout).items()}
        self.arguments = {"layout": fields, "widths": list(widths), "attention": attention, "heads": heads}
        self.multiple = 2 ** (len(widths) - 1)
        first = widths[0]
        self.stem = _convolution(self.layout.image, first)
        self.importance = nn.Conv2d(first, 1, 1)
        self.said = _convolution(self.layout.shared, first)
        self.analysis = nn.ModuleList(
            double_convolution(before, after) for before, after in zip((2 * first, *widths), widths, strict=False)
        )
        self.attention = Attention(self.layout.seen, attention, heads, widths[2]) if attention else None
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, 2) for below, here in upwards)
        self.synthesis = nn.ModuleList(double_convolution(2 * here, here) for _, here in upwards)
        self.classify = nn.Conv2d(first, 1, 1, bias=False)
        self.guess = nn.Conv2d(len(self.layout.hints), 1, 1, bias=False)
        nn.init.zeros_(self.classify.weight)
        nn.init.constant_(self.guess.weight, 1 / len(self.layout.hints))

    def forward(self, x: torch.Tensor, memory: Memory | None = None) -> torch.Tensor:
        """Logits ``(B, U, V)`` of the structure for ``(B, channels, U, V)``, with any number of image channels."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        image, shared, places = self._parted(x)
        x = torch.cat([self._pooled(image), self.said(shared)], 1)
        shortcuts = []
        for level, block in enumerate(self.analysis):
            x = block(F.max_pool2d(x, 2) if level else x)
            if level == ATTENDED and self.attention is not None:
                x = x + self.attention(image[:, :, : self.layout.seen], places, memory)
            shortcuts.append(x)
        shortcuts.pop()
        for enlarge, block in zip(self.enlarge, self.synthesis, strict=True):
            x = block(torch.cat([enlarge(x), shortcuts.pop()], 1))
        hints = shared[:, list(self.layout.hints)].clamp(-MOST_CERTAIN, MOST_CERTAIN)
        return (self.classify(x) + self.guess(2 * torch.atanh(hints)))[:, 0, :height, :width]

    def _parted(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Image channels ``(B, C, image, U, V)``, shared ones, places ``(B, 3, U, V)``."""
        image, shared, places = x.tensor_split([x.shape[1] - self.layout.shared - 3, x.shape[1] - 3], 1)
        return image.unflatten(1, (-1, self.layout.image)), shared, places

    def _pooled(self, image: torch.Tensor) -> torch.Tensor:
        """The features of the image channels, each with a weight of its own at every pixel."""
        count = image.shape[1]
        features = self.stem(image.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        if count == 1:
            return features
        weights = self.importance(features).unflatten(0, (-1, count)).softmax(1)
        return (features.unflatten(0, (-1, count)) * weights).sum(1)


ATTENDED = 2
"""The level at which annotated slices are attended to, of a quarter of the resolution."""
SHRUNK = 2**ATTENDED


class Attention(nn.Module):
    """Labels of annotated slices where these look the same and are near, brought to the pixels of another slice.

    Parameters
    ----------
    seen : channels of the image alone, of each image channel
    features : of a key, for all heads
    heads : that each attend to something else
    out : channels that it adds
    """

    def __init__(self, seen: int, features: int, heads: int, out: int) -> None:
        super().__init__()
        self.heads = heads
        self.look = nn.Sequential(
            _convolution(seen, features // 2, 2),
            _convolution(features // 2, features, 2),
            _convolution(features, features),
        )
        self.keys = nn.Conv2d(features, features, 1)
        self.queries = nn.Conv2d(features, features, 1)
        self.nearness = nn.Parameter(torch.zeros(heads))
        self.bring = nn.Conv2d(3 * heads + features, out, 1)
        nn.init.zeros_(self.bring.weight)
        assert self.bring.bias is not None
        nn.init.zeros_(self.bring.bias)

    def remember(
        self, seen: torch.Tensor, labels: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Keys, values, places and what is unknown (see :class:`Memory`) of slices, one after another ``(M, n, ...)``.

        ``seen`` is ``(M, C, seen, U, V)``, ``labels`` ``(M, U, V)`` is 1 inside, 0 outside and 255 where nothing is
        known, ``places`` ``(M, 3, U, V)``; U and V can be halved twice.
        """
        keys = self.keys(self._looked(seen))
        known = torch.stack([labels == 1, labels == 0], 1).to(seen.dtype)
        values = F.avg_pool2d(known, SHRUNK)
        there = F.avg_pool2d(places, SHRUNK)
        unknown = values.sum(1) < 0.5
        return _rows(keys), _rows(values), _rows(there), unknown.flatten(1)

    def forward(self, seen: torch.Tensor, places: torch.Tensor, memory: Memory | None) -> torch.Tensor:
        """What is added at a quarter of the resolution, ``(B, out, u, v)``; nothing where nothing is remembered."""
        looked = self._looked(seen)
        size = looked.shape[-2:]
        if memory is None:
            answer = torch.zeros(len(looked), 3 * self.heads, *size, device=looked.device, dtype=looked.dtype)
        else:
            anything = (~memory.unknown.all(1)).to(looked.dtype)
            answer = self._asked(looked, F.avg_pool2d(places, SHRUNK), memory) * anything.view(-1, 1, 1, 1)
        return self.bring(torch.cat([answer, looked], 1))

    def _looked(self, seen: torch.Tensor) -> torch.Tensor:
        """Features of the image ``(B, features, u, v)``, the mean over its channels."""
        count = seen.shape[1]
        found = self.look(seen.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        return found.unflatten(0, (-1, count)).mean(1)

    def _asked(self, looked: torch.Tensor, places: torch.Tensor, memory: Memory) -> torch.Tensor:
        """Of each head, the labels that it found, and how near they are, ``(B, 3 · heads, u, v)``."""
        batch, features, height, width = looked.shape
        queries = _rows(self.queries(looked)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        keys = memory.keys.unflatten(2, (self.heads, -1)).transpose(1, 2)
        far = torch.cdist(_rows(places).float(), memory.places.float()).square()[:, None].to(looked.dtype)
        near = F.softplus(self.nearness)[:, None, None]
        logits = queries @ keys.transpose(2, 3) * (features // self.heads) ** -0.5 - near * far
        logits = logits.masked_fill(memory.unknown[:, None, None], -1e4)
        found = logits.softmax(3) @ memory.values[:, None].to(logits.dtype)
        strength = torch.tanh(logits.logsumexp(3, keepdim=True) / 8)
        return torch.cat([found, strength], 3).permute(0, 1, 3, 2).reshape(batch, -1, height, width)


class EachStructure(nn.Module):
    """Predicts several structures, each against the rest: ``(B, (K - 1) · L, U, V)`` to logits ``(B, K, U, V)``.

    Parameters
    ----------
    network : Generalist
    structures : how many
    memories : of each structure, the annotated slices to attend to; None for none
    """

    def __init__(self, network: Generalist, structures: int, memories: list[Memory] | None = None) -> None:
        super().__init__()
        self.network = network
        self.structures = structures
        self.memories = memories

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, that of background 0."""
        parts = x.unflatten(1, (self.structures, -1))
        found = []
        for number in range(self.structures):
            memory = None if self.memories is None else _repeated(self.memories[number], len(x))
            found.append(self.network(parts[:, number], memory))
        return torch.stack([torch.zeros_like(found[0]), *found], 1)


def _repeated(memory: Memory, count: int) -> Memory:
    return Memory(
        *(getattr(memory, name).expand(count, *[-1] * (getattr(memory, name).ndim - 1)) for name in vars(memory))
    )


def _rows(values: torch.Tensor) -> torch.Tensor:
    """``(B, F, u, v)`` as ``(B, u · v, F)``."""
    return values.flatten(2).transpose(1, 2)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
