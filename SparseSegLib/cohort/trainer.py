"""The training of one network on several annotated volumes, within a budget."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SparseSegLib.cohort.adapt import begin_with
from SparseSegLib.cohort.dataset import Dataset
from SparseSegLib.cohort.label_quality import FEWEST, LabelWeight, weights_as_csv
from SparseSegLib.cohort.learner import CohortLearner
from SparseSegLib.cohort.settings import TrainSettings, suitable_patch
from SparseSegLib.cohort.validation import Validation
from SparseSegLib.control import Control
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import Canceled, ResourceError, UsageError
from SparseSegLib.files import write_text
from SparseSegLib.models.regions import in_words, numbered
from SparseSegLib.patches import PatchRecipe
from SparseSegLib.training.budget import Budget
from SparseSegLib.training.checkpoint import FOREIGN, find_checkpoint
from SparseSegLib.training.distributed import current_process_group
from SparseSegLib.training.log import TrainingLog
from SparseSegLib.training.loop import TrainingLoop, on_device_or_cpu
from SparseSegLib.training.precision import choose_precision
from SparseSegLib.training.schedule import in_proportion

BALANCE = 0.5
LOG_STEPS = 10  # between two rows of the log
HINT = "Use smaller patches or a coarser spacing."


@dataclass(frozen=True)
class Files:
    """The files that a training writes; ``None`` for those it shall not.

    Attributes
    ----------
    checkpoint : where to save every few seconds
        If the file exists, the training goes on from it: up to the budget, and to the same weights as in one go, where
        examples and settings are the same; else with its weights as a start.
    warm_start : whether weights learned from other examples may be such a start
        They never are where there are validation volumes, from which they may have been learned.
    log : folder for ``training.csv``, see :class:`TrainingLog`
    tensorboard : whether to write for TensorBoard there, too
    label_weights : a table of the weights of each case's labels, where they are noisy
    """

    checkpoint: Path | None = None
    log: Path | None = None
    tensorboard: bool = False
    warm_start: bool = True
    label_weights: Path | None = None


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """The result of a training.

    Attributes
    ----------
    weights : state dict of the averaged network
    arguments : what the network's class takes, channels and classes left out
    window : (z, y, x) voxels of the network's input
    steps, seconds, loss : of the training; the loss is a running mean
    validation : Dice of the validation volumes with these weights, None where they have no structure or there are none
    best_step : when the network had these weights
    label_weights : of the cases, the least trusted first, where labels are noisy
    """

    weights: dict[str, torch.Tensor]
    arguments: dict[str, Any]
    window: tuple[int, int, int]
    steps: int
    seconds: float
    loss: float | None
    validation: float | None = None
    best_step: int = 0
    label_weights: tuple[LabelWeight, ...] = ()


def train(
    dataset: Dataset,
    settings: TrainSettings | None = None,
    control: Control | None = None,
    checkpoint: Path | None = None,
    *,
    validation: Dataset | None = None,
    files: Files | None = None,
) -> TrainedModel:
    """Train a network on all examples of a dataset until the budget ends or someone stops it.

    In each process that :func:`SparseSegLib.training.distributed.connected` has connected the same is to be called;
    the first one alone writes and reports, and all return the same weights.

    Parameters
    ----------
    dataset : Dataset
    settings : TrainSettings; its ``spacing`` must be the dataset's or None
    control : receives the progress, and may stop or cancel
    checkpoint : path, optional; short for ``Files(checkpoint)``
    validation : volumes with the dataset's classes to choose the weights by; without, the last ones count
    files : what else to write

    Raises
    ------
    UsageError
        If there is no such network, or it cannot work with such patches; or there is a single case to weight.
    AnnotationError
        If no example has a structure.
    Canceled
        When the token says so; the checkpoint stays.
    ResourceError
        When memory does not suffice on any device.
    """
    settings, control = settings or TrainSettings(), control or Control()
    files = files or Files(checkpoint)
    dataset.check()
    if settings.noisy_labels and len(dataset.examples) < FEWEST:
        raise UsageError(
            "Noisy labels are noticed by comparing cases, and there is one case to learn from.", "Give more cases."
        )
    if settings.regions is not None:
        regions = in_words(numbered(settings.regions, dataset.names), dataset.names)
        control.events.message(f"The regions to learn: {regions}.")
    if validation is not None and not validation.has_structure:
        control.events.message("No volume for validation has a structure: the last weights count.")

    def attempt(device: torch.device) -> TrainedModel:
        return _Training(dataset, settings, control, files, validation, device).go()

    device = choose_device(settings.device)
    if current_process_group().size == 1:
        return on_device_or_cpu(device, attempt, control, HINT)
    try:
        return attempt(device)  # the others would not follow to the CPU
    except torch.OutOfMemoryError as error:
        raise ResourceError("There is not enough memory in one of the processes.", HINT) from error


class _Training:
    """One training on one device."""

    def __init__(
        self,
        dataset: Dataset,
        settings: TrainSettings,
        control: Control,
        files: Files,
        validation: Dataset | None,
        device: torch.device,
    ) -> None:
        self.dataset = dataset
        self.control = control
        self.plan = settings.plan
        self.validation = None if validation is None else Validation(validation, settings.validations)
        self.group = current_process_group()
        self.learner = _make_learner(dataset, settings, device)
        if settings.start:
            begin_with(self.learner, dataset, Path(settings.start))
        self.fingerprint = _fingerprint(dataset, settings, validation)
        self.went_on = False
        state = self.group.broadcast(find_checkpoint(files.checkpoint, control.events) if self.group.first else None)
        try:
            spent, loss = self._resume(state, warm_start=files.warm_start and validation is None)
        except torch.OutOfMemoryError:
            raise
        except FOREIGN:
            control.events.message("The checkpoint is of another kind of training: starting over.")
            self.learner, self.plan, self.went_on = _make_learner(dataset, settings, device), settings.plan, False
            if settings.start:
                begin_with(self.learner, dataset, Path(settings.start))
            state, spent, loss = None, 0.0, None
        self.group.broadcast_weights([self.learner.network, self.learner.averaged.network])
        self.budget = Budget(self.plan.seconds, self.plan.steps, spent)
        self.label_weights = files.label_weights
        checkpoint = files.checkpoint if self.group.first else None
        schedule = in_proportion(self.plan.schedule, self.plan.full_steps)
        self.loop = TrainingLoop(control, self.budget, checkpoint, settings.checkpoint_seconds, schedule)
        self.loop.loss = loss
        self.log = None
        if files.log is not None and self.group.first:
            self.log = TrainingLog(files.log, self.learner.steps, tensorboard=files.tensorboard)
        if self.validation is not None and state is not None and self.learner.steps:
            self.validation.restore(state["validation"], self.budget.fraction(self.learner.steps))

    def go(self) -> TrainedModel:
        """Train until the budget ends or someone stops it."""
        learner = self.learner
        while (fraction := self._fraction()) < 1:
            self.loop.step(learner, fraction)
            if self.group.first:
                self._after_step()
        if self.group.first:
            self._validate(1.0)
            self.loop.save(self._state, force=True)
        if self.log is not None:
            self.log.close()
        arguments = dict(learner.network.arguments)  # type: ignore[arg-type]
        for name in ("in_channels", "classes"):
            arguments.pop(name)
        weights = self._mean_label_weights()
        model = TrainedModel(
            learner.averaged.network.state_dict(),
            arguments,
            learner.recipe.patch,
            learner.steps,
            self.budget.elapsed,
            self.loop.loss,
            best_step=learner.steps,
            label_weights=weights,
        )
        return self._best_of(model)

    def _mean_label_weights(self) -> tuple[LabelWeight, ...]:
        """The mean weight of each case's labels; the first process writes the table."""
        quality = self.learner.label_quality
        if quality is None:
            return ()
        weights = quality.weights([example.name for example in self.dataset.examples])
        if self.group.first and self.label_weights is not None:
            write_text(self.label_weights, weights_as_csv(weights))
        return weights

    def _fraction(self) -> float:
        """The training's progress, 1 when it is over; broadcast by the first process. Raises Canceled."""
        token, steps = self.control.token, self.learner.steps
        fraction = 1.0 if token.stopped and steps else self.budget.fraction(steps)
        canceled, fraction = self.group.broadcast((token.canceled, fraction))
        if canceled:
            if self.group.first and steps:
                self.loop.save_canceled(self._state)
            raise Canceled
        return fraction

    def _after_step(self) -> None:
        """Validate, log, report and save, each when it is due; called between two steps."""
        steps = self.learner.steps
        fraction = self.budget.fraction(steps)
        if self.validation is not None and self.validation.due(fraction):
            self._validate(fraction)
        elif steps % LOG_STEPS == 0:
            self._write(None)
        figures = {}
        if self.validation is not None and self.validation.best is not None:
            figures["validation_dice"] = self.validation.best
        self.loop.report(steps, **figures)
        self.loop.save(self._state)

    def _validate(self, fraction: float) -> None:
        """Evaluate on the validation volumes, if there are any and this step was not evaluated yet."""
        learner, validation = self.learner, self.validation
        if validation is None or validation.seen_at == learner.steps:
            return
        score = validation.look(
            learner.averaged.network,
            learner.recipe.patch,
            learner.device,
            learner.steps,
            fraction,
            self.control.token.check,
        )
        self._write(score)

    def _write(self, score: float | None) -> None:
        if self.log is not None:
            rate = self.loop.rate * self.learner.recipe.learning_rate
            self.log.add(self.learner.steps, self.budget.elapsed, self.loop.loss, rate, score)

    def _best_of(self, model: TrainedModel) -> TrainedModel:
        """The model with the weights that did best on the validation volumes; broadcast by the first process."""
        validation = self.validation
        if validation is None:
            return model
        weights, score, step = self.group.broadcast((validation.weights, validation.best, validation.best_step))
        return replace(model, weights=weights, validation=score, best_step=step)

    def _state(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "names": list(self.dataset.names),
            "loss": self.loop.loss,
            "learner": self.learner.state(),
            "went_on": self.went_on,
            "validation": None if self.validation is None else self.validation.state(),
        }

    def _resume(self, state: dict[str, Any] | None, *, warm_start: bool) -> tuple[float, float | None]:
        """Take over a checkpoint if there is one; the seconds that it has used of the budget, and its running loss."""
        if state is None:
            return 0.0, None
        events = self.control.events
        if state.get("fingerprint") == self.fingerprint:
            self.learner.restore(state["learner"])
            if state.get("went_on"):
                self._go_on()
            events.message(f"Going on after {self.learner.steps} steps.")
            return float(state["spent"]), state["loss"]
        if not warm_start:  # the weights may have been trained on the cases that this training leaves out
            events.message("The cases are split otherwise, or the settings are others: starting over.")
            return 0.0, None
        try:
            if state.get("names") != list(self.dataset.names):
                raise ValueError("other classes")
            self.learner.warm_start(state["learner"])
            self._go_on()
            events.message("Starting from the weights of the last training.")
        except ValueError:
            events.message("The last training had another network or other classes: starting over.")
        return 0.0, None

    def _go_on(self) -> None:
        """Use the learning rate for weights that are trained already."""
        self.went_on = True
        self.plan = self.plan.going_on()
        self.learner.recipe = replace(self.learner.recipe, learning_rate=self.plan.learning_rate)


def _make_learner(dataset: Dataset, settings: TrainSettings, device: torch.device) -> CohortLearner:
    plan = settings.plan
    arguments = dict(settings.arguments)
    if settings.regions is not None:
        arguments["regions"] = numbered(settings.regions, dataset.names)
    recipe = PatchRecipe(
        network=plan.network,
        arguments=arguments,
        patch=plan.patch or suitable_patch(dataset.shape),
        batch=plan.batch,
        learning_rate=plan.learning_rate,
        balance=BALANCE,
    )
    classes = len(dataset.names) + 1
    precision = choose_precision(settings.precision, device)
    try:
        learner = plan.learner(
            recipe,
            dataset.channels,
            classes,
            settings.seed,
            device,
            flips=plan.mirror,
            precision=precision,
            noisy_labels=settings.noisy_labels,
        )
    except TypeError as error:
        raise UsageError(f"The network {plan.network} does not take these arguments: {error}.") from error
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


def _fingerprint(dataset: Dataset, settings: TrainSettings, validation: Dataset | None) -> str:
    """A hash of everything that the weights depend on but the budget, which may grow."""
    plan = settings.plan
    chosen = (
        settings.recipe,
        plan.network,
        sorted(settings.arguments.items()),
        plan.patch,
        plan.batch,
        settings.seed,
        settings.precision,
        plan.mirror,
        settings.regions,
        settings.noisy_labels,
        settings.start,
        validation and len(validation.examples),
        dataset.names,
        dataset.spacing,
    )
    digest = hashlib.sha256(repr(chosen).encode())
    for example in (*dataset.examples, *(validation.examples if validation else ())):
        digest.update(np.ascontiguousarray(example.labels).tobytes())
        digest.update(np.ascontiguousarray(example.image.numpy()).tobytes())
    return digest.hexdigest()
