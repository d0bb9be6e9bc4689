"""All decisions about time: when to preview, in which quality to predict, and when the training must end."""

from __future__ import annotations

from collections.abc import Callable

from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.settings import DensifySettings
from SparseSegLib.training.budget import Budget

HELD_OUT_UNTIL = 0.4  # of the budget
AFTER_UPDATE = 0.6  # of the budget that is used at most when new annotation comes
PREVIEW_AFTER_UPDATE = 3.0  # seconds
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

    Attributes
    ----------
    budget : Budget
    """

    def __init__(self, settings: DensifySettings, spent: float) -> None:
        self.settings = settings
        self.budget = Budget(settings.seconds, settings.budget_steps, spent)
        self.previews = 0
        self._began = 0.0  # the fraction of the budget that was used when the training began
        self._next_preview = 0.0

    def is_over(self, steps: int) -> bool:
        """Whether the training has to end after so many steps; there is one at least."""
        return steps > 0 and self.budget.fraction(steps) >= 1

    def may_release(self, steps: int) -> bool:
        """Whether held-out slices have been held out long enough."""
        return self.budget.fraction(steps) >= self._began + HELD_OUT_UNTIL * (1 - self._began)

    def extend(self, steps: int, *, restart: bool = False) -> None:
        """Leave time for new annotation, and show soon what it changes.

        ``restart`` says that the training starts over with it, and holds out slices again.
        """
        self.budget.extend_to(steps, AFTER_UPDATE)
        self._next_preview = self.budget.elapsed + PREVIEW_AFTER_UPDATE
        if restart:
            self._began = self.budget.fraction(steps)

    def next_preview(self, problem: Problem) -> tuple[Request, float | None] | None:
        """The preview to predict now, and its time limit in seconds; None if it is not time."""
        if self.budget.elapsed < self._next_preview:
            return None
        first = self.previews == 0
        within = FIRST_SECONDS if first and not problem.is_small else None
        return self._preview_request(problem), within

    def has_previewed(self, problem: Problem, seconds: Seconds) -> None:
        """Plan the next preview and the end, after one was shown."""
        self.previews += 1
        reserve = seconds(self.last_request(problem, seconds))
        self.budget.reserve = min(reserve, LONGEST_RESERVE * self.settings.seconds)
        ended = self.budget.elapsed
        pause = min(self.settings.preview_seconds, ended)  # at first they follow each other faster
        self._next_preview = ended + max(pause, seconds(self._preview_request(problem)) / PREVIEW_SHARE)

    def _preview_request(self, problem: Problem) -> Request:
        return Request.whole(problem, 2 if self.previews else MOST_STRIDE, quick=True)

    def last_request(self, problem: Problem, seconds: Seconds) -> Request:
        """The last prediction: every slice where steps are counted, else as many as there is time for."""
        if self.budget.steps is not None:
            return Request.whole(problem)
        return self._careful(problem, seconds, self.last_seconds or 0.0, quick=False)

    @property
    def last_seconds(self) -> float | None:
        """Time limit of the last prediction in seconds; None where steps are counted."""
        return None if self.budget.steps is not None else PREDICTION_SHARE * self.settings.seconds

    def hurried_request(self, problem: Problem, seconds: Seconds) -> Request:
        """The same where a stop was requested."""
        return self._careful(problem, seconds, HURRY_SECONDS, quick=True)

    def _careful(self, problem: Problem, seconds: Seconds, most: float, *, quick: bool) -> Request:
        requests = [Request.whole(problem, stride, quick=quick) for stride in range(1, MOST_STRIDE + 1)]
        return next((request for request in requests if seconds(request) <= most), requests[-1])
