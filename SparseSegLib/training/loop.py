"""The training loop: steps, a fallback when memory is short, progress events and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from SparseSegLib.control import Control
from SparseSegLib.errors import ResourceError, SparseSegError
from SparseSegLib.training.budget import Budget
from SparseSegLib.training.checkpoint import save_checkpoint
from SparseSegLib.training.distributed import current_process_group
from SparseSegLib.training.schedule import Schedule, cosine_rate

REPORT_SECONDS = 0.5
Result = TypeVar("Result")


class Learner(Protocol):
    """The learner's interface for the loop: its steps so far, the next step, and a smaller one."""

    @property
    def steps(self) -> int:
        """Training steps so far."""
        ...

    def step(self, rate: float) -> float:
        """One training step at ``rate`` times the learning rate; the loss."""
        ...

    def shrink(self) -> int:
        """Take half as many patches per step from now on; how many these are, or 0 if there cannot be fewer."""
        ...


class TrainingLoop:
    """The steps of one training, its running loss, its progress events and its checkpoints.

    Parameters
    ----------
    control : receives the progress events
    budget : of the whole training; may be changed while it runs
    checkpoint : file to save to, or None
    checkpoint_seconds : time between two checkpoints
    schedule : the learning rate over the training

    Attributes
    ----------
    loss : running mean, None before the first step
    rate : factor on the learning rate in the last step
    """

    def __init__(
        self,
        control: Control,
        budget: Budget,
        checkpoint: Path | None,
        checkpoint_seconds: float,
        schedule: Schedule = cosine_rate,
    ) -> None:
        self.control = control
        self.budget = budget
        self.schedule = schedule
        self.rate = 0.0
        self.loss: float | None = None
        self._checkpoint = checkpoint
        self._checkpoint_seconds = checkpoint_seconds
        self._next_checkpoint = budget.elapsed + checkpoint_seconds
        self._next_report = 0.0

    def step(self, learner: Learner, fraction: float | None = None) -> float | None:
        """Train one step; its loss, or None where the GPU was full and the next step takes half the patches.

        ``fraction`` is how far the training is, where the budget does not determine that.
        """
        fraction = self.budget.fraction(learner.steps) if fraction is None else fraction
        self.rate = self.schedule(learner.steps, fraction)
        try:
            loss = learner.step(self.rate)
        except torch.OutOfMemoryError:
            if current_process_group().size > 1:  # the others would wait for the step that failed
                raise
            patches = learner.shrink()
            if not patches:
                raise
        else:
            self.loss = loss if self.loss is None else 0.95 * self.loss + 0.05 * loss
            return loss
        torch.cuda.empty_cache()  # only here: the error's traceback held what had been allocated
        self.control.events.message(f"GPU memory is short: going on with {patches} patches per step.")
        return None

    def report(self, steps: int, after: float = 0.0, **figures: float) -> None:
        """Report progress, at most every half second; ``after`` are seconds of work that follow the training."""
        now = self.budget.elapsed
        if now < self._next_report:
            return
        self._next_report = now + REPORT_SECONDS
        left, fraction = self.budget.seconds_left(steps), self.budget.fraction(steps)
        if after and left is not None:
            left += after
            fraction = min(fraction, now / (now + left))
        self.control.events.progress(steps, fraction, self.loss, left, **figures)

    def save(self, state: Callable[[], dict[str, Any]], *, force: bool = False) -> None:
        """Save a checkpoint of ``state()`` if it is time."""
        if self._checkpoint is None or not (force or self.budget.elapsed >= self._next_checkpoint):
            return
        save_checkpoint(self._checkpoint, {"spent": self.budget.elapsed, **state()})
        self._next_checkpoint = self.budget.elapsed + self._checkpoint_seconds

    def save_canceled(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save a checkpoint before a canceled training ends, where that can be done."""
        with suppress(SparseSegError):
            self.save(state, force=True)


def on_device_or_cpu(
    device: torch.device, train: Callable[[torch.device], Result], control: Control, hint: str
) -> Result:
    """Call ``train`` with ``device`` and, where that has not enough memory, once more with the CPU.

    Raises ResourceError with ``hint`` when memory does not suffice on the CPU either.
    """
    while True:
        try:
            return train(device)
        except torch.OutOfMemoryError as error:
            if device.type == "cpu":
                raise ResourceError("There is not enough memory.", hint) from error
        torch.cuda.empty_cache()
        device = torch.device("cpu")
        control.events.message("The GPU has not enough memory even for one patch: going on with the CPU.")
