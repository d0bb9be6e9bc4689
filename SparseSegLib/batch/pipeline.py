"""Case after case in this process: while one is computed, the next is read and the last one written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillReading
from typing import Any, Protocol

from SparseSegLib.batch.case import BatchCase
from SparseSegLib.batch.manifest import Entry
from SparseSegLib.control import CancelToken
from SparseSegLib.errors import Canceled

Outcome = tuple[BatchCase, Entry | Exception]
"""A case, and its entry or the exception that it raised."""

POLL_SECONDS = 0.1


class Steps(Protocol):
    """The steps for each case; see ``CaseWork``."""

    def read(self, case: BatchCase) -> Any:
        """Read it."""

    def compute(self, loaded: Any, token: CancelToken, progress: Callable[[float], None]) -> Any:
        """Compute what was read."""

    def write(self, segmented: Any) -> Entry:
        """Write what was computed; its entry."""

    def abandon(self) -> None:
        """End a read whose result nobody waits for."""


def segment_here(
    work: Steps,
    cases: Sequence[BatchCase],
    token: CancelToken,
    progress: Callable[[float], None],
    begins: Callable[[BatchCase], None] = lambda case: None,
) -> Iterator[Outcome]:
    """Segment the cases in turn; at most three are in memory.

    Parameters
    ----------
    work : what to do
    cases : in this order
    token : whether to go on; asked to stop, it begins no further case
    progress : called with the number of cases computed, with fractions
    begins : called with each case before anything is computed of it

    Yields
    ------
    Each case when its result is written, or with the exception that it raised.

    Raises
    ------
    Canceled
        When the token says so; a result that was being written is yielded first.
    """
    writing: tuple[BatchCase, Future[Entry]] | None = None
    canceled: Canceled | None = None
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        ahead = reader.submit(work.read, cases[0]) if cases else None
        for number, case in enumerate(cases):
            if ahead is None or not _is_wanted(ahead, token):
                canceled = Canceled() if token.canceled else None
                break
            reading, ahead = ahead, reader.submit(work.read, cases[number + 1]) if number + 1 < len(cases) else None
            try:
                begins(case)
                written = writer.submit(work.write, _compute(work, reading, number, token, progress))
            except Canceled as error:
                canceled = error
                break
            except Exception as error:
                written = Future()
                written.set_exception(error)
            if writing is not None:
                yield _outcome(*writing)
            writing = case, written
        if token.stopped or token.canceled:
            work.abandon()
        if writing is not None:
            yield _outcome(*writing)
    if canceled is not None:
        raise canceled


def _is_wanted(reading: Future[Any], token: CancelToken) -> bool:
    """Wait for a case to be read; whether to go on with it, which may be over before it is read."""
    while not (token.stopped or token.canceled):
        try:
            reading.exception(timeout=POLL_SECONDS)
        except StillReading:
            continue
        return True
    return False


def _compute(
    work: Steps, reading: Future[Any], done: int, token: CancelToken, progress: Callable[[float], None]
) -> Any:
    token.check()
    progress(done)
    return work.compute(reading.result(), token, lambda fraction: progress(done + fraction))


def _outcome(case: BatchCase, writing: Future[Entry]) -> Outcome:
    error = writing.exception()
    if isinstance(error, Exception):
        return case, error
    return case, writing.result()
