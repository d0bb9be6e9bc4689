"""The budget of a training, in seconds or in steps, and its progress."""

from __future__ import annotations

import time


class Budget:
    """Progress from 0 to 1 through a number of seconds or steps.

    With steps the fraction depends on nothing but the step, so that the same seed gives the same result.

    Parameters
    ----------
    seconds : float or None
        Wall time for everything, prediction at the end included (see ``reserve``).
    steps : int or None
        Training steps; wins over ``seconds``.
    spent : float
        Seconds already used by an earlier run that is resumed.
    first_step : int
        Steps taken before, which do not count.
    """

    def __init__(
        self, seconds: float | None, steps: int | None = None, spent: float = 0.0, first_step: int = 0
    ) -> None:
        if seconds is None and steps is None:
            raise ValueError("a budget needs seconds or steps")
        self.seconds = seconds
        self.steps = steps
        self.first_step = first_step
        self.reserve = 0.0
        self._start = time.monotonic() - spent

    @property
    def elapsed(self) -> float:
        """Seconds since the start, earlier runs included."""
        return time.monotonic() - self._start

    def fraction(self, step: int) -> float:
        """Fraction of the training that is done, 0 to 1."""
        if self.steps is not None:
            return min(1.0, (step - self.first_step) / max(1, self.steps))
        assert self.seconds is not None
        return min(1.0, self.elapsed / max(1e-3, self.seconds - self.reserve))

    def seconds_left(self, step: int) -> float | None:
        """Seconds until the end, estimated where steps are counted."""
        if self.steps is None:
            assert self.seconds is not None
            return max(0.0, self.seconds - self.elapsed)
        done = step - self.first_step
        return self.elapsed / done * (self.steps - done) if done else None

    def finish_by(self, step: int, fraction: float) -> None:
        """Shorten what is left so that the present moment becomes ``fraction`` of the whole."""
        if self.steps is not None:
            done = step - self.first_step
            self.steps = min(self.steps, max(done + 1, round(done / fraction)))
        elif self.seconds is not None:
            self.seconds = min(self.seconds, self.elapsed / fraction + self.reserve)

    def extend_to(self, step: int, fraction: float) -> None:
        """Lengthen the rest so that the present moment is at most ``fraction`` of the whole."""
        if self.steps is not None:
            self.steps = max(self.steps, round((step - self.first_step) / fraction))
        elif self.seconds is not None:
            self.seconds = max(self.seconds, self.elapsed / fraction + self.reserve)
