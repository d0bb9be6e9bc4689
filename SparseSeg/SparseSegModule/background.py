"""Slow work on plain arrays and files, away from the Qt thread. No node may be touched in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class BackgroundCall:
    """Runs ``function`` in a thread of its own; :attr:`done` says when :meth:`result` may be asked for."""

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
        """Whether it has ended, well or not."""
        return not self._thread.is_alive()

    def result(self) -> Any:
        """What the function returned, or the error that it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value
