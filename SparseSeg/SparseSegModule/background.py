"""Slow work on plain arrays and files, away from the Qt thread. No node may be touched in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

MOMENT = 0.01  # seconds


class BackgroundCall:
    """Runs ``function`` in a thread of its own; :attr:`done` is true when :meth:`result` may be called."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="SparseSeg", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not.

        Waits for a moment: Slicer's main thread holds Python's lock while nothing happens, and threads get on only when
        Python code of the main thread lets go of it.
        """
        self._thread.join(MOMENT)
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        self._thread.join(seconds)

    def result(self) -> Any:
        """What the function returned, or the error that it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value
