"""A token that Ctrl-C stops, so that hours of training end with a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from SparseSegLib.control import CancelSource, CancelToken


@contextmanager
def stopped_by_signals(token: CancelToken | None) -> Iterator[CancelToken]:
    """The token as it is; without one, a new one that Ctrl-C and SIGTERM stop until the block ends."""
    if token is not None:
        yield token
        return
    source = CancelSource()
    before = {number: signal.signal(number, lambda *_: source.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield source.token
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
