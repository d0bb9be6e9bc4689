"""Background work with a callback on the Qt thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from SparseSegModule.background import BackgroundCall

POLL_MILLISECONDS = 50


class Waiting:
    """Runs one function at a time in the background, and polls whether it has ended.

    Parameters
    ----------
    onDone : called with the call that has ended, well or not; another one may then be started
    milliseconds : between two polls
    """

    def __init__(self, onDone: Callable[[BackgroundCall], None], milliseconds: int = POLL_MILLISECONDS) -> None:
        self._onDone = onDone
        self._call: BackgroundCall | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(milliseconds)
        self._timer.connect("timeout()", self._onTimer)

    @property
    def busy(self) -> bool:
        """Whether a function runs whose end is waited for."""
        return self._call is not None

    def start(self, function: Callable[[], Any]) -> None:
        """Run a function, in which no node may be touched."""
        self._call = BackgroundCall(function)
        self._timer.start()

    def forget(self) -> None:
        """Wait no more; what runs comes to its end without a call of ``onDone``."""
        self._timer.stop()
        self._call = None

    def _onTimer(self) -> None:
        if self._call is None or not self._call.done:
            return
        self._timer.stop()
        call, self._call = self._call, None
        self._onDone(call)
