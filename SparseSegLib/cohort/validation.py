"""Volumes that a training does not learn from, to choose its best weights by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.cohort.dataset import Dataset
from SparseSegLib.evaluation import dice
from SparseSegLib.inference import predict_patches

PatchSize = tuple[int, int, int]


class Validation:
    """Evaluates on the validation volumes now and then, and keeps the best weights.

    Parameters
    ----------
    dataset : the volumes, with the classes of the training
    times : how often to evaluate, evenly over the training

    Attributes
    ----------
    best : the highest Dice so far; None before the first evaluation, and where no volume has a structure
    best_step : when that was
    seen_at : the step of the last evaluation
    weights : state dict of the network then; without a Dice that at the last evaluation
    """

    def __init__(self, dataset: Dataset, times: int) -> None:
        self.dataset = dataset
        self.times = times
        self.best: float | None = None
        self.best_step = 0
        self.seen_at = 0
        self.weights: dict[str, torch.Tensor] = {}
        self._looks = 0

    def due(self, fraction: float) -> bool:
        """Whether to evaluate now that ``fraction`` of the training is done."""
        return int(fraction * self.times + 1e-6) > self._looks

    def look(
        self, network: nn.Module, patch: PatchSize, device: torch.device, step: int, fraction: float, check: Callable
    ) -> float | None:
        """The network's Dice, None if there is none; its weights are kept if it is the best so far."""
        self._looks = int(fraction * self.times + 1e-6)
        self.seen_at = step
        found = mean_dice(network, self.dataset, patch, device, check)
        if self.best is None or found is None or found >= self.best:
            self.best, self.best_step = found, step
            self.weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        return found

    def state(self) -> dict[str, Any]:
        """The state for :meth:`restore`."""
        return {
            "best": self.best,
            "best_step": self.best_step,
            "seen_at": self.seen_at,
            "weights": self.weights,
            "looks": self._looks,
        }

    def restore(self, state: dict[str, Any], fraction: float) -> None:
        """Go on where :meth:`state` was taken; ``fraction`` of the budget, which may be another now, is done."""
        self.best, self.best_step, self.weights = state["best"], state["best_step"], state["weights"]
        self.seen_at = state["seen_at"]
        self._looks = min(state["looks"], int(fraction * self.times + 1e-6))


@torch.inference_mode()
def mean_dice(
    network: nn.Module, dataset: Dataset, patch: PatchSize, device: torch.device, check: Callable[[], None]
) -> float | None:
    """Mean over the classes of the mean Dice over the volumes that have the class, on the grid of the network.

    None if no volume has any. Only labeled voxels count. ``check`` is called before every tile and may raise to end the
    work.
    """
    scores: dict[int, list[float]] = {}
    for example in dataset.examples:
        labeled = example.labels != UNLABELED
        found = predict_patches(
            network, example.image, classes=len(dataset.names) + 1, patch=patch, device=device, check=check
        )
        labels = found.argmax(0).numpy()
        for value in np.unique(example.labels[labeled]):
            if value:
                score = dice((labels == value) & labeled, example.labels == value)
                scores.setdefault(int(value), []).append(score)
    return float(np.mean([np.mean(values) for values in scores.values()])) if scores else None
