"""Case after case in this process: while one is computed, the next is read and the last one written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from SparseSegLib.batch.case import BatchCase
from SparseSegLib.batch.manifest import Entry
from SparseSegLib.batch.work import CaseWork, Loaded, Segmented
from SparseSegLib.control import CancelToken
from SparseSegLib.errors import Canceled

Outcome = tuple[BatchCase, Entry | Exception]
"""A case, and what is said of it or why it failed."""


def segment_here(
    work: CaseWork, cases: Sequence[BatchCase], token: CancelToken, progress: Callable[[float], None]
) -> Iterator[Outcome]:
    """Segment the cases in turn; at most three are in memory.

    Parameters
    ----------
    work : what to do
    cases : in this order
    token : whether to go on; asked to stop, it begins no further case
    progress : hears how many cases are computed, with fractions

    Yields
    ------
    Each case when its result is written, or with the exception that it met.

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
            if token.stopped or ahead is None:
                break
            reading, ahead = ahead, reader.submit(work.read, cases[number + 1]) if number + 1 < len(cases) else None
            try:
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
        if writing is not None:
            yield _outcome(*writing)
    if canceled is not None:
        raise canceled


def _compute(
    work: CaseWork, reading: Future[Loaded], done: int, token: CancelToken, progress: Callable[[float], None]
) -> Segmented:
    token.check()
    progress(done)
    return work.compute(reading.result(), token, lambda fraction: progress(done + fraction))


def _outcome(case: BatchCase, writing: Future[Entry]) -> Outcome:
    error = writing.exception()
    if isinstance(error, Exception):
        return case, error
    return case, writing.result()
