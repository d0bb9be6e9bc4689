"""The learning rate over a training, and when to end it early."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int, float], float]
"""The factor on the learning rate at a step, when that fraction (0 to 1) of the budget is used."""


def cosine_rate(step: int, fraction: float, warmup: int = 20, floor: float = 0.02) -> float:
    """Factor on the learning rate: a linear warm-up over ``warmup`` steps, then half a cosine down to ``floor``."""
    return min(1.0, (step + 1) / warmup) * (0.5 * (1 + math.cos(math.pi * fraction)) * (1 - floor) + floor)


def falling_rate(step: int, fraction: float, every: int = 25_000, factor: float = 0.1) -> float:
    """Factor on the learning rate: ``factor`` times as much after ``every`` steps (Milletari et al. 2016, section 4).

    ``fraction`` changes nothing: the paper counts steps.
    """
    return factor ** (step // every)


def in_proportion(schedule: Schedule, full_steps: int, least: float = 0.3) -> Schedule:
    """A schedule whose rate is lower where the training will be short.

    With fewer than ``full_steps`` steps in all, as estimated from the step and the fraction that is done, the rate is
    that of ``schedule`` times the steps there will be over ``full_steps``, but no less than ``least`` times it. 0
    changes nothing.
    """

    def rate(step: int, fraction: float) -> float:
        expected = step / fraction if fraction > 0 else full_steps
        return schedule(step, fraction) * min(1.0, max(least, expected / full_steps))

    return rate if full_steps else schedule


class Plateau:
    """Notices that the loss no longer falls.

    Losses are averaged in blocks of ``block`` steps; a plateau is when none of the last ``patience`` blocks improved on
    the best one before by more than ``tolerance`` (relative).
    """

    def __init__(self, block: int = 50, patience: int = 6, tolerance: float = 0.02) -> None:
        self.block = block
        self.patience = patience
        self.tolerance = tolerance
        self._sum = 0.0
        self._count = 0
        self._best = math.inf
        self._stale = 0

    def add(self, loss: float) -> bool:
        """Take one step's loss; true when there is a plateau."""
        self._sum += loss
        self._count += 1
        if self._count == self.block:
            mean, self._sum, self._count = self._sum / self.block, 0.0, 0
            if mean < self._best * (1 - self.tolerance):
                self._best, self._stale = mean, 0
            else:
                self._stale += 1
        return self._stale >= self.patience
