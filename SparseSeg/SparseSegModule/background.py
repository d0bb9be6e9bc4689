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


class NewestCall:
    """Calls a function in the background with the newest of several items; what is outdated is dropped."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._running: tuple[Any, BackgroundCall] | None = None
        self._next: list[Any] = []

    @property
    def busy(self) -> bool:
        """Whether something is being called, or is to be."""
        return self._running is not None or bool(self._next)

    def offer(self, item: Any) -> None:
        """Call the function with this item, as soon as can be."""
        self._next = [item]

    def forget(self) -> None:
        """Drop what was offered, and the result of what is being called."""
        self._running, self._next = None, []

    def take(self) -> tuple[Any, BackgroundCall] | None:
        """An item and its call, which has ended, or None; starts the next call."""
        done = None
        if self._running is not None and self._running[1].done:
            done, self._running = self._running, None
        if self._running is None and self._next:
            item = self._next.pop()
            self._running = item, BackgroundCall(lambda: self._function(item))
        return done

    def wait(self, seconds: float) -> None:
        """Wait for the end of the call, at most so long."""
        if self._running is not None:
            self._running[1].wait(seconds)
