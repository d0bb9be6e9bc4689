"""What a long computation listens and speaks to: who may stop it, whom it tells, who brings new annotation."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

from SparseSegLib.errors import Canceled


class CancelToken:
    """The reading side: a computation asks it now and then."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._stop = threading.Event()

    @property
    def canceled(self) -> bool:
        """Whether the work is no longer wanted."""
        return self._cancel.is_set()

    @property
    def stopped(self) -> bool:
        """Whether to finish with what there is."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise Canceled if the work is no longer wanted."""
        if self.canceled:
            raise Canceled


class Stopped(Exception):  # noqa: N818 - no error
    """The user waits for what there is: a part of the work is left out. Never reaches the user."""


class UntilStopped(CancelToken):
    """Another token's reading side for a part of the work that is left out where someone asked to stop."""

    def __init__(self, token: CancelToken) -> None:
        self._cancel = token._cancel
        self._stop = token._stop

    def check(self) -> None:
        """Raise Canceled if the work is no longer wanted, Stopped if what there is shall do."""
        super().check()
        if self.stopped:
            raise Stopped


class CancelSource:
    """The writing side: whoever holds it can end the computation that holds its ``token``."""

    def __init__(self) -> None:
        self.token = CancelToken()

    def cancel(self) -> None:
        """The work is no longer wanted."""
        self.token._cancel.set()

    def stop(self) -> None:
        """Finish with what there is."""
        self.token._stop.set()


class Events(Protocol):
    """Whom a computation tells what it does."""

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """How far along it is: ``fraction`` from 0 to 1."""

    def preview(self, result: Any) -> None:
        """An intermediate result."""

    def message(self, text: str) -> None:
        """Something the user should know."""


class NullEvents:
    """Listens to nothing."""

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """Ignore it."""

    def preview(self, result: Any) -> None:
        """Ignore it."""

    def message(self, text: str) -> None:
        """Ignore it."""


class Inbox(Protocol):
    """Where a computation looks for new annotation."""

    def take(self) -> Any:
        """What came since the last time, or None."""


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
        """What was left since the last time, or None."""
        with self._lock:
            content, self._content = self._content, None
        return content


@dataclass(frozen=True)
class Control:
    """All of it in one hand; by default nobody listens and nobody interferes."""

    token: CancelToken = field(default_factory=CancelToken)
    events: Events = field(default_factory=NullEvents)
    updates: Inbox = field(default_factory=Mailbox)
