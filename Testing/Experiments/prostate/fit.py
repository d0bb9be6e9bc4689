"""The training of a prostate model: its settings, its loop, the choice of its weights."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from Experiments.prostate.cases import PreparedCase, anatomy_of
from Experiments.synthesis import SampleGenerator, SynthesisLearner, SynthesisSettings, pelvis_phantom, shapes_phantom

from SparseSegLib.control import CancelToken, Control
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import UsageError
from SparseSegLib.evaluation import dice
from SparseSegLib.models import ModelCard
from SparseSegLib.prediction.components import largest_component
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.training.budget import Budget
from SparseSegLib.training.checkpoint import load_checkpoint
from SparseSegLib.training.loop import TrainingLoop

Size = tuple[int, int, int]

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
MARGIN = 1.3  # how much larger than the window a phantom is along each axis


@dataclass(frozen=True)
class FitSettings:
    """Settings of a training.

    Attributes
    ----------
    minutes, steps : when to be done; steps win
    batch : samples per step
    seed : the same one, on a CPU, with as many steps gives the same weights
    device : auto, cpu, cuda, cuda:N or mps
    phantoms, shapes : how many to make
    validation_seconds, checkpoint_seconds : how often to measure the held-out volumes, and to save
    synthesis : distribution of the samples, but window, and spacing, which is the card's
    window : (z, y, x) voxels of a sample; the card's, for predictions, may be larger
    """

    minutes: float = 60.0
    steps: int | None = None
    batch: int = 1
    seed: int = 0
    device: str = "auto"
    phantoms: int = 12
    shapes: int = 4
    validation_seconds: float = 150.0
    checkpoint_seconds: float = 60.0
    synthesis: dict[str, Any] = field(default_factory=dict)
    window: Size = (32, 64, 64)


@dataclass(frozen=True, eq=False)
class Fitted:
    """The result of a training: the weights, and their Dice on the held-out volumes (None without any)."""

    weights: dict[str, torch.Tensor]
    generator: SampleGenerator
    steps: int
    seconds: float
    loss: float
    dice: dict[str, float] | None
    chosen_step: int


def fit(
    train: Sequence[PreparedCase],
    held: Sequence[PreparedCase],
    card: ModelCard,
    settings: FitSettings,
    work: Path,
    control: Control,
    on_better: Callable[[dict[str, torch.Tensor]], None] = lambda weights: None,
) -> Fitted:
    """Train the network of a card; without held-out volumes the last weights are taken, else the best on these.

    Parameters
    ----------
    work : folder of checkpoint and log; if there is a checkpoint of the same training, it goes on from there
    on_better : called with every better set of weights
    """
    return _Fit(train, held, card, settings, work, control, on_better).go()


class _Fit:
    """One training on one device."""

    def __init__(
        self,
        train: Sequence[PreparedCase],
        held: Sequence[PreparedCase],
        card: ModelCard,
        settings: FitSettings,
        work: Path,
        control: Control,
        on_better: Callable[[dict[str, torch.Tensor]], None],
    ) -> None:
        self.held = held
        self.card = card
        self.settings = settings
        self.control = control
        self.work = work
        self.on_better = on_better
        device = choose_device(settings.device)
        samples = make_generator(train, card, settings, device)
        self.learner = SynthesisLearner(card.network, card.arguments, samples, settings.batch, settings.seed)
        names = sorted(case.name for case in train), [case.name for case in held]
        self.fingerprint = repr((card.network, card.arguments, settings.window, card.preprocessing, names))
        self.best: dict[str, Any] | None = None
        spent, loss = self._resume()
        self.budget = Budget(60 * settings.minutes, settings.steps, spent)
        self.loop = TrainingLoop(control, self.budget, work / CHECKPOINT, settings.checkpoint_seconds)
        self.loop.loss = loss
        self._next_look = spent + settings.validation_seconds

    def go(self) -> Fitted:
        """Train until the budget ends or someone stops it."""
        token, learner = self.control.token, self.learner
        while self.budget.fraction(learner.steps) < 1 and not (token.stopped and learner.steps):
            token.check()
            self.loop.step(learner)
            self.loop.report(learner.steps)
            if self.budget.elapsed >= self._next_look:
                self._look()
            self.loop.save(self._state)
        self._look()
        self.loop.save(self._state, force=True)
        best = self.best or self._now(None)
        return Fitted(
            best["weights"],
            learner.samples,
            learner.steps,
            self.budget.elapsed,
            self.loop.loss or math.nan,
            best["dice"],
            best["step"],
        )

    def _look(self) -> None:
        """Measure the held-out volumes, log it, and keep the weights if they are better than all before."""
        found = {case.name: self._dice(case) for case in self.held}
        mean = float(np.mean(list(found.values()))) if found else None
        self._log(mean, found)
        if mean is not None and (self.best is None or mean > self.best["mean"]):
            self.best = {**self._now(found), "mean": mean}
            self.on_better(self.best["weights"])
        elif mean is None:
            self.on_better(self._now(None)["weights"])
        self._next_look = self.budget.elapsed + self.settings.validation_seconds

    def _now(self, found: dict[str, float] | None) -> dict[str, Any]:
        averaged = self.learner.averaged.network.state_dict()
        weights = {name: tensor.detach().cpu().clone() for name, tensor in averaged.items()}
        return {"weights": weights, "dice": found, "step": self.learner.steps}

    def _dice(self, case: PreparedCase) -> float:
        """Dice of a held-out volume, on the model's grid."""
        predictor = Predictor(self.card, self.learner.averaged.network, self.learner.device)
        probabilities = predictor.probabilities(case.image, CancelToken(), lambda fraction: None)
        return dice(largest_component(probabilities.argmax(0).numpy() == 1), case.mask)

    def _log(self, mean: float | None, found: dict[str, float]) -> None:
        """A line of the log, which is printed too."""
        path, new = self.work / LOG, not (self.work / LOG).exists()
        row = {
            "seconds": round(self.budget.elapsed, 1),
            "step": self.learner.steps,
            "loss": round(self.loop.loss or math.nan, 5),
            "dice": "" if mean is None else round(mean, 4),
            **{f"dice {name}": round(value, 4) for name, value in found.items()},
        }
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.control.events.message("  ".join(f"{name} {value}" for name, value in row.items()))

    def _state(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "learner": self.learner.state(),
            "loss": self.loop.loss,
            "best": self.best,
        }

    def _resume(self) -> tuple[float, float | None]:
        """Take over a checkpoint if there is one; the seconds that it has used of the budget, and its running loss."""
        path = self.work / CHECKPOINT
        if not path.exists():
            return 0.0, None
        state = load_checkpoint(path)
        if state["fingerprint"] != self.fingerprint:
            raise UsageError(f"{path} is of a training with other settings or volumes.", "Delete it to start over.")
        self.learner.restore(state["learner"])
        self.best = state["best"]
        self.control.events.message(f"Going on after {self.learner.steps} steps.")
        return float(state["spent"]), state["loss"]


def make_generator(
    train: Sequence[PreparedCase], card: ModelCard, settings: FitSettings, device: torch.device
) -> SampleGenerator:
    """Samples from the training volumes and from phantoms."""
    spacing, window = card.preprocessing.spacing, settings.window
    depth, height, width = (round(MARGIN * side) for side in window)
    rng = np.random.default_rng(settings.seed)
    synthesis = SynthesisSettings(window, spacing, **settings.synthesis)
    return SampleGenerator(
        [anatomy_of(case, settings.seed) for case in train],
        [pelvis_phantom((depth, height, width), spacing, rng) for _ in range(settings.phantoms)],
        [shapes_phantom((depth, height, width), spacing, rng) for _ in range(settings.shapes)],
        synthesis,
        torch.Generator(device).manual_seed(settings.seed),
    )


def settings_as_text(settings: FitSettings) -> str:
    """The settings, for the log."""
    return ", ".join(f"{name} {value}" for name, value in asdict(settings).items())
