"""The learner of the generalist: batches of slices of several problems, its loss, its optimizer, its figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from Experiments.pretraining.problems import Slices
from Experiments.resumable.learner import AveragedLearner

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.densify.generalist_features import LAYOUT
from SparseSegLib.networks.generalist import Generalist
from SparseSegLib.training.precision import computing_in

OURS = "ours"
MULTIPLE = 16
"""Sides of batches are multiples: networks halve them so often."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Recipe:
    """The configuration of a training.

    Attributes
    ----------
    widths : of the network
    problems, slices : of a step: so many problems, and slices of each
    crop : pixels of a side of a slice, at most; a multiple of 16
    learning_rate, weight_decay, warmup, longest_gradient : of AdamW, whose rate falls as a cosine over the time
    averaging : of the weights that predict
    precision : auto, float32 or bf16
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 288)
    problems: int = 4
    slices: int = 2
    crop: int = 96
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: int = 200
    longest_gradient: float = 2.0
    averaging: float = 0.999
    precision: str = "auto"


class GeneralistLearner(AveragedLearner):
    """Trains one network on whatever problems it is given."""

    network: Generalist

    def __init__(self, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.recipe = recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Generalist(LAYOUT, recipe.widths)
        network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(network, recipe, device)
        self.rng = np.random.default_rng(seed)

    def step(self, problems: Sequence[Slices], done: float) -> float:
        """One training step when a fraction ``done`` of the time is over; its loss."""
        recipe = self.recipe
        chosen = self._drawn(problems)
        inputs, labels = self._batch(chosen)
        self.begin(done)
        with computing_in(self.precision, self.device):
            logits = self.network(inputs)
        loss = structure_loss(logits.float().unflatten(0, (-1, recipe.slices)), labels)
        return self.descend(loss)

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs to go on, on whatever device."""
        return {**super().state(), "rng": json.dumps(self.rng.bit_generator.state)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""
        super().restore(state)
        self.rng.bit_generator.state = json.loads(state["rng"])

    def _drawn(self, problems: Sequence[Slices]) -> list[Slices]:
        """Problems with as many image channels each; how often each number occurs decides how often it is drawn."""
        first = problems[self.rng.integers(len(problems))]
        alike = [one for one in problems if one.channels == first.channels]
        others = self.rng.integers(len(alike), size=self.recipe.problems - 1)
        return [first, *(alike[number] for number in others)]

    def _batch(self, chosen: Sequence[Slices]) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs ``(B, L, H, W)`` and labels ``(problems, slices, H, W)``, no larger than needed."""
        drawn = [
            (one, int(number))
            for one in chosen
            for number in self.rng.integers(len(one.inputs), size=self.recipe.slices)
        ]
        size = common_size([one.labels[number] for one, number in drawn], self.recipe.crop)
        pairs = [self._patch(one, number, size) for one, number in drawn]
        inputs = torch.stack([image for image, _ in pairs]).to(self.device).float()
        self._vary(inputs, chosen[0].channels)
        labels = torch.stack([labels for _, labels in pairs]).to(self.device)
        return inputs.contiguous(memory_format=torch.channels_last), labels.unflatten(0, (-1, self.recipe.slices))

    def _patch(self, one: Slices, number: int, size: Size) -> tuple[torch.Tensor, torch.Tensor]:
        """A part of a slice, around a pixel of the structure half of the times, mirrored at random."""
        inputs, labels = one.inputs[number], one.labels[number]
        there = torch.nonzero(labels == 1)
        if len(there) and self.rng.random() < 0.5:
            middle = there[self.rng.integers(len(there))].tolist()
        else:
            middle = [int(self.rng.integers(side)) for side in labels.shape]
        sides = _around(middle, labels.shape, size)
        axes = [axis for axis in (-2, -1) if self.rng.random() < 0.5]
        image, drawn = inputs[(slice(None), *sides)].flip(axes), labels[sides].flip(axes)
        return _fitted(image, size, 0.0), _fitted(drawn, size, UNLABELED)

    def _vary(self, inputs: torch.Tensor, channels: int) -> None:
        """Change gain and brightness of all gray values of a sample together, in place."""
        count = len(inputs)
        gain = torch.from_numpy(np.exp(self.rng.normal(0, 0.1, (count, 1, 1, 1)))).float().to(self.device)
        shift = torch.from_numpy(self.rng.normal(0, 0.1, (count, 1, 1, 1))).float().to(self.device)
        for channel in range(channels):
            start = channel * LAYOUT.image
            inputs[:, start : start + LAYOUT.gray].mul_(gain).add_(shift)


def structure_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, and one minus the soft Dice of each problem, ``(P, S, U, V)`` each; 255 is left out."""
    known = (labels != UNLABELED).float()
    truth = (labels == 1).float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, weight=known, reduction="sum") / known.sum().clamp(
        min=1
    )
    found, dims = logits.sigmoid() * known, (1, 2, 3)
    overlap, total = (found * truth).sum(dims), (found + truth).sum(dims)
    return entropy + (1 - (2 * overlap + 1) / (total + 1)).mean()


@torch.inference_mode()
def evaluate(network: Generalist, problems: Sequence[Slices], device: torch.device) -> list[dict[str, Any]]:
    """Of each problem its kind and the IoU of what is found in its slices, ours and that of the peers.

    Problems with nothing to find and nothing found are left out.
    """
    rows = []
    for one in problems:
        ours = [network(inputs[None].to(device).float())[0].cpu() > 0 for inputs in one.inputs]
        truth = [labels == 1 for labels in one.labels]
        figures = {name: _iou(found, truth) for name, found in ({OURS: ours} | one.found).items()}
        if any(bool(part.any()) for part in truth):
            rows.append({"kind": one.kind, "known": one.known, **figures})
    return rows


def summarized(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean IoU by group of kinds and name, as ``new ours``; and of each kind ours, as ``shells``.

    A peer that cannot do every problem stands beside ours on those that it can, as ``new ours where slice_unet``.
    """
    found = {}
    for group, known in (("new", False), ("known", True)):
        own = [row for row in rows if row["known"] == known]
        for name in dict.fromkeys(name for row in own for name in row if name not in ("kind", "known")):
            able = [row for row in own if name in row]
            found[f"{group} {name}"] = mean(row[name] for row in able)
            if len(able) < len(own):
                found[f"{group} ours where {name}"] = mean(row[OURS] for row in able)
    for kind in sorted({row["kind"] for row in rows}):
        found[kind] = mean(row[OURS] for row in rows if row["kind"] == kind)
    return {name: round(value, 4) for name, value in found.items()}


def _iou(found: Sequence[torch.Tensor], truth: Sequence[torch.Tensor]) -> float:
    overlap = sum(int((one & other).sum()) for one, other in zip(found, truth, strict=True))
    union = sum(int((one | other).sum()) for one, other in zip(found, truth, strict=True))
    return overlap / union if union else 0.0


def common_size(slices: Sequence[torch.Tensor], most: int) -> Size:
    """The least size, of multiples of ``MULTIPLE``, that each slice fits in, but no side longer than ``most``."""
    sides = [max((one.shape[side] for one in slices), default=MULTIPLE) for side in range(2)]
    height, width = (min(most, -(-side // MULTIPLE) * MULTIPLE) for side in sides)
    return height, width


def _fitted(values: torch.Tensor, size: Size, fill: float) -> torch.Tensor:
    """Padded below and to the right."""
    return F.pad(values, (0, size[1] - values.shape[-1], 0, size[0] - values.shape[-2]), value=fill)


def _around(middle: Sequence[float], shape: Sequence[int], size: Size) -> tuple[slice, slice]:
    """The part of a slice around a pixel, of a size or as much as there is."""
    starts = [
        min(max(0, round(at) - side // 2), max(0, whole - side))
        for at, whole, side in zip(middle, shape, size, strict=True)
    ]
    return slice(starts[0], starts[0] + size[0]), slice(starts[1], starts[1] + size[1])
