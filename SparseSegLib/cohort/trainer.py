"""The training of one network on several annotated volumes, within a budget."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SparseSegLib.cohort.dataset import Dataset
from SparseSegLib.cohort.settings import TrainSettings, suitable_patch
from SparseSegLib.control import Control
from SparseSegLib.densify.patch_trainer import PatchTrainer
from SparseSegLib.densify.settings import PatchRecipe
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import UsageError
from SparseSegLib.losses import soft_dice
from SparseSegLib.training.budget import Budget
from SparseSegLib.training.checkpoint import load_checkpoint
from SparseSegLib.training.loop import TrainingLoop, on_device_or_cpu

LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
BALANCE = 0.5


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """What a training returns.

    Attributes
    ----------
    weights : state dict of the averaged network
    arguments : what the network's class takes, channels and classes left out
    window : (z, y, x) voxels that the network sees at once
    steps, seconds, loss : of the training; the loss is a running mean
    """

    weights: dict[str, torch.Tensor]
    arguments: dict[str, Any]
    window: tuple[int, int, int]
    steps: int
    seconds: float
    loss: float | None


class CohortLearner(PatchTrainer):
    """The patch trainer with an optimizer and a loss that suit short trainings."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=WEIGHT_DECAY)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Each patch on its own: batch norm must see in training what it sees in a prediction, one patch at a time."""
        return torch.cat([self.network(patch[None]) for patch in image])

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy and soft Dice over the labeled voxels."""
        return super().loss(logits, labels) + soft_dice(logits, labels)


def train(
    dataset: Dataset,
    settings: TrainSettings | None = None,
    control: Control | None = None,
    checkpoint: Path | None = None,
) -> TrainedModel:
    """Train a network on all examples of a dataset until the budget ends or someone stops it.

    Parameters
    ----------
    dataset : Dataset
    settings : TrainSettings; its ``spacing`` must be the dataset's or None
    control : whom to tell of the progress, and who may stop or cancel
    checkpoint : path, optional
        Where to save every few seconds. If the file exists, the training goes on from it: up to the budget, and to the
        same weights as in one go, where examples and settings are the same; else with its weights as a start.

    Raises
    ------
    UsageError
        If there is no such network, or it cannot work with such patches.
    Canceled
        When the token says so; the checkpoint stays.
    ResourceError
        When memory does not suffice on any device.
    """
    settings, control = settings or TrainSettings(), control or Control()
    device = choose_device(settings.device)
    return on_device_or_cpu(
        device,
        lambda device: _Training(dataset, settings, control, checkpoint, device).go(),
        control,
        "Use smaller patches or a coarser spacing.",
    )


class _Training:
    """One training on one device."""

    def __init__(
        self,
        dataset: Dataset,
        settings: TrainSettings,
        control: Control,
        checkpoint: Path | None,
        device: torch.device,
    ) -> None:
        self.dataset = dataset
        self.control = control
        self.checkpoint = checkpoint
        self.learner = _make_learner(dataset, settings, device)
        self.fingerprint = _fingerprint(dataset, settings)
        spent, loss = self._resume()
        self.budget = Budget(settings.budget_seconds, settings.budget_steps, spent)
        self.loop = TrainingLoop(control, self.budget, checkpoint, settings.checkpoint_seconds)
        self.loop.loss = loss

    def go(self) -> TrainedModel:
        """Train until the budget ends or someone stops it."""
        token, learner = self.control.token, self.learner
        while self.budget.fraction(learner.steps) < 1 and not (token.stopped and learner.steps):
            token.check()
            self.loop.step(learner)
            self.loop.report(learner.steps)
            self.loop.save(self._state)
        self.loop.save(self._state, force=True)
        arguments = dict(learner.network.arguments)  # type: ignore[arg-type]
        for name in ("in_channels", "classes"):
            arguments.pop(name)
        weights, seconds = learner.averaged.network.state_dict(), self.budget.elapsed
        return TrainedModel(weights, arguments, learner.recipe.patch, learner.steps, seconds, self.loop.loss)

    def _state(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "names": list(self.dataset.names),
            "loss": self.loop.loss,
            "learner": self.learner.state(),
        }

    def _resume(self) -> tuple[float, float | None]:
        """Take over a checkpoint if there is one; the seconds that it has used of the budget, and its running loss."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0.0, None
        state, events = load_checkpoint(self.checkpoint), self.control.events
        if state.get("fingerprint") == self.fingerprint:
            self.learner.restore(state["learner"])
            events.message(f"Going on after {self.learner.steps} steps.")
            return float(state["spent"]), state["loss"]
        try:
            if state.get("names") != list(self.dataset.names):
                raise ValueError("other classes")
            self.learner.warm_start(state["learner"])
            events.message("Starting from the weights of the last training.")
        except ValueError:
            events.message("The last training had another network or other classes: starting over.")
        return 0.0, None


def _make_learner(dataset: Dataset, settings: TrainSettings, device: torch.device) -> CohortLearner:
    recipe = PatchRecipe(
        network=settings.network,
        arguments=dict(settings.arguments),
        patch=settings.patch or suitable_patch(dataset.shape),
        batch=settings.batch,
        learning_rate=LEARNING_RATE,
        balance=BALANCE,
    )
    classes = len(dataset.names) + 1
    try:
        learner = CohortLearner(recipe, dataset.channels, classes, settings.seed, device, flips=settings.mirror)
    except TypeError as error:
        raise UsageError(f"The network {settings.network} does not take these arguments: {error}.") from error
    _check_patch(learner)
    learner.learn_from(dataset.images())
    return learner


def _check_patch(learner: CohortLearner) -> None:
    """Refuse patches that a network without padding cannot take."""
    network, patch = learner.network, learner.recipe.patch
    if getattr(network, "padded", True):
        return
    fitting = tuple(network.valid_size(max(side, 2 * network.margin + 1)) for side in patch)  # type: ignore[operator]
    if fitting != patch:
        z, y, x = fitting
        raise UsageError(
            f"The network {learner.recipe.network} cannot take patches of {patch} voxels (z, y, x).",
            f"Choose {z} {y} {x} or a padded network, for example unet3d.",
        )


def _fingerprint(dataset: Dataset, settings: TrainSettings) -> str:
    """A hash of everything that the weights depend on but the budget, which may grow."""
    chosen = (
        settings.network,
        sorted(settings.arguments.items()),
        settings.patch,
        settings.batch,
        settings.seed,
        settings.mirror,
        dataset.names,
        dataset.spacing,
    )
    digest = hashlib.sha256(repr(chosen).encode())
    for example in dataset.examples:
        digest.update(np.ascontiguousarray(example.labels).tobytes())
        digest.update(np.ascontiguousarray(example.image.numpy()).tobytes())
    return digest.hexdigest()
