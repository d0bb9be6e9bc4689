"""All decisions about time: when to preview, in which quality to predict, and when the training must end."""

from __future__ import annotations

from collections.abc import Callable

from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.settings import DensifySettings
from SparseSegLib.training.budget import Budget

HELD_OUT_UNTIL = 0.4  # of the budget
AFTER_UPDATE = 0.6  # of the budget that is used at most when new annotation comes; what a later round has of it
PREVIEW_SHARE = 0.1  # of the time that previews take, at most
PREDICTION_SHARE = (
    0.35  # of the time that the last prediction takes, at most: slices are left out where it would be more
)
LONGEST_RESERVE = 0.4  # of the time
MOST_STRIDE = 4
HURRY_SECONDS = 4.0  # for the last prediction of a larger region, where a stop was requested
FIRST_SECONDS = 2.0  # for the first preview of a larger region

Seconds = Callable[[Request], float]
"""Seconds that a prediction would take."""


class Pacer:
    """Keeps the time of one training.

    Parameters
    ----------
    settings : DensifySettings
    spent : seconds of the budget that are used already
    first_step : steps taken in earlier rounds
    later : whether this is a later round, which has a part of the budget
    learning_only : whether the last prediction takes as long as it takes, after the budget

    Attributes
    ----------
    budget : Budget
    """

    def __init__(
        self,
        settings: DensifySettings,
        spent: float,
        first_step: int = 0,
        *,
        later: bool = False,
        learning_only: bool = False,
    ) -> None:
        self.settings = settings
        self.later = later
        self.learning_only = learning_only
        part = AFTER_UPDATE if later else 1.0
        steps = None if settings.budget_steps is None else max(1, round(part * settings.budget_steps))
        self.seconds = part * settings.seconds
        self.budget = Budget(self.seconds, steps, spent, first_step)
        self.previews = 0
        self._is_first = True  # whether the next preview is the first one with this annotation
        self._began = 0.0  # the fraction of the budget that was used when the training began
        self._next_preview = 0.0

    def is_over(self, steps: int) -> bool:
        """Whether the training has to end after so many steps; there is one at least."""
        return steps > self.budget.first_step and self.budget.fraction(steps) >= 1

    def learned(self, steps: int) -> float:
        """How far the training is after so many steps, 0 to 1, for its learning rate; a later round goes on with it."""
        fraction = self.budget.fraction(steps)
        return AFTER_UPDATE + (1 - AFTER_UPDATE) * fraction if self.later else fraction

    def may_release(self, steps: int) -> bool:
        """Whether held-out slices have been held out long enough."""
        return self.budget.fraction(steps) >= self._began + HELD_OUT_UNTIL * (1 - self._began)

    def extend(self, steps: int, *, restart: bool = False) -> None:
        """Leave time for new annotation, and show what it changes.

        ``restart`` says that the training starts over with it, and holds out slices again.
        """
        if restart:
            self.budget.first_step, self.later = steps, False
        self.budget.extend_to(steps, AFTER_UPDATE)
        self._next_preview = self.budget.elapsed
        self._is_first = True
        if restart:
            self._began = self.budget.fraction(steps)

    def next_preview(self, problem: Problem) -> tuple[Request, float | None] | None:
        """The preview to predict now, and its time limit in seconds; None if it is not time."""
        if self.budget.elapsed < self._next_preview:
            return None
        within = FIRST_SECONDS if self._is_first and not problem.is_small else None
        return self._preview_request(problem), within

    def has_previewed(self, problem: Problem, seconds: Seconds, took: float = 0.0) -> None:
        """Plan the next preview and the end, after one was shown, which ``took`` so many seconds."""
        self.previews += 1
        self._is_first = False
        reserve = 0.0 if self.learning_only else seconds(self.last_request(problem, seconds))
        self.budget.reserve = min(reserve, LONGEST_RESERVE * self.seconds)
        ended = self.budget.elapsed
        pause = min(self.settings.preview_seconds, ended)  # at first they follow each other faster
        longest = max(seconds(self._preview_request(problem)), took if problem.in_parts else 0.0)
        self._next_preview = ended + max(pause, longest / PREVIEW_SHARE)

    def _preview_request(self, problem: Problem) -> Request:
        if self.settings.shown and problem.is_small:
            return Request.whole(problem)  # what is on display had every slice and orientation
        known = self.previews or self.later  # a result is on display already, that had more slices
        coarse = self._is_first and not (known and problem.is_small)
        return Request.whole(problem, MOST_STRIDE if coarse else 2, quick=True, step=problem.coarse_step)

    def last_request(self, problem: Problem, seconds: Seconds) -> Request:
        """The last prediction: every slice where steps are counted, else as many as there is time for."""
        if self.last_seconds is None:
            return Request.whole(problem)
        return self._careful(problem, seconds, self.last_seconds, quick=False)

    @property
    def last_seconds(self) -> float | None:
        """Time limit of the last prediction in seconds; None where steps or the learning alone are counted."""
        return None if self.budget.steps is not None or self.learning_only else PREDICTION_SHARE * self.seconds

    def hurried_request(self, problem: Problem, seconds: Seconds) -> Request:
        """The same where a stop was requested."""
        return self._careful(problem, seconds, HURRY_SECONDS, quick=True)

    def _careful(self, problem: Problem, seconds: Seconds, most: float, *, quick: bool) -> Request:
        requests = [Request.whole(problem, stride, quick=quick) for stride in range(1, MOST_STRIDE + 1)]
        return next((request for request in requests if seconds(request) <= most), requests[-1])
