"""Control of a long computation: cancel tokens, its events, and an inbox for new annotation."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

from SparseSegLib.errors import Canceled


class CancelToken:
    """The reading side, which a computation checks now and then."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._stop = threading.Event()
        self._finish = threading.Event()

    @property
    def canceled(self) -> bool:
        """Whether the work is no longer wanted."""
        return self._cancel.is_set()

    @property
    def stopped(self) -> bool:
        """Whether to finish with what there is."""
        return self._stop.is_set()

    @property
    def finished(self) -> bool:
        """Whether no further round is wanted."""
        return self._finish.is_set()

    def begin_round(self) -> None:
        """Forget a stop: it ended the round before."""
        self._stop.clear()

    def check(self) -> None:
        """Raise Canceled if the work is no longer wanted."""
        if self.canceled:
            raise Canceled


class Stopped(Exception):  # noqa: N818 - no error
    """The user wants the result so far: a part of the work is left out. Never reaches the user."""


class UntilStopped(CancelToken):
    """Another token's reading side for a part of the work that is left out where someone asked to stop."""

    def __init__(self, token: CancelToken) -> None:
        self._cancel = token._cancel
        self._stop = token._stop
        self._finish = token._finish

    def check(self) -> None:
        """Raise Canceled if the work is no longer wanted, Stopped if the result so far is wanted."""
        super().check()
        if self.stopped:
            raise Stopped


class CancelSource:
    """The writing side: ends the computation that checks its ``token``."""

    def __init__(self) -> None:
        self.token = CancelToken()

    def cancel(self) -> None:
        """The work is no longer wanted."""
        self.token._cancel.set()

    def stop(self) -> None:
        """Finish with what there is."""
        self.token._stop.set()

    def finish(self) -> None:
        """No further round is wanted."""
        self.token._finish.set()


class Events(Protocol):
    """Receives the events of a computation."""

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """Progress: ``fraction`` from 0 to 1."""

    def preview(self, result: Any) -> None:
        """An intermediate result."""

    def message(self, text: str) -> None:
        """A message for the user."""

    def ready(self) -> None:
        """The computation waits for annotation, or is about to begin with it."""

    def round(self, number: int, files: dict[str, str], figures: dict[str, Any]) -> None:
        """A round has ended, and another one may follow."""


class NullEvents:
    """Ignores all events."""

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """Ignore it."""

    def preview(self, result: Any) -> None:
        """Ignore it."""

    def message(self, text: str) -> None:
        """Ignore it."""

    def ready(self) -> None:
        """Ignore it."""

    def round(self, number: int, files: dict[str, str], figures: dict[str, Any]) -> None:
        """Ignore it."""


class Inbox(Protocol):
    """A source of new annotation for a computation."""

    def take(self) -> Any:
        """The annotation that came since the last time, or None."""


class Mailbox:
    """Hands the latest of something from one thread to another; what was not taken in time is replaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._content: Any = None

    def put(self, content: Any) -> None:
        """Leave ``content`` for the other thread."""
        with self._lock:
            self._content = content

    def take(self) -> Any:
        """The content put since the last time, or None."""
        with self._lock:
            content, self._content = self._content, None
        return content


@dataclass
class Board:
    """Shows the latest of something to another thread, as often as that looks.

    Attributes
    ----------
    content : what was put there last
    """

    content: Any = None


@dataclass(frozen=True)
class Control:
    """Token, events and inbox of one computation; by default without effect.

    Attributes
    ----------
    token : CancelToken
    events : receives its events
    updates : brings new annotation
    looks : has the slices of the volume on display, pairs of an axis (0, 1, 2 for z, y, x) and an index, or None
    bell : set whenever a command came
    """

    token: CancelToken = field(default_factory=CancelToken)
    events: Events = field(default_factory=NullEvents)
    updates: Inbox = field(default_factory=Mailbox)
    looks: Board = field(default_factory=Board)
    bell: threading.Event = field(default_factory=threading.Event)
