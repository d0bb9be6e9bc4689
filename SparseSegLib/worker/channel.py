"""The worker's two ends of the line: events out, commands in."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from SparseSegLib.protocol import HEARTBEAT_SECONDS, decode_command, encode


class EventWriter:
    """Writes events to the real standard output, one whole line at a time, from any thread.

    Whatever else prints, C libraries included, goes to standard error (the log) from then on.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._stream: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._lock = threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        """Send one event; a client that is gone does not disturb the work."""
        with self._lock:
            try:
                self._stream.write(encode(kind, **fields) + "\n")
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                pass

    def beat(self, stop: threading.Event) -> None:
        """Send heartbeats from a thread of its own until ``stop`` is set."""

        def loop() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                self.send("heartbeat")

        threading.Thread(target=loop, name="heartbeat", daemon=True).start()


def listen(handle: Callable[[dict[str, Any]], None], closed: Callable[[], None]) -> None:
    """Read commands from standard input in a thread of its own; call ``closed`` when the client is gone."""

    def loop() -> None:
        with os.fdopen(os.dup(0), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                command = decode_command(line)
                if command is not None:
                    handle(command)
        closed()

    threading.Thread(target=loop, name="commands", daemon=True).start()
