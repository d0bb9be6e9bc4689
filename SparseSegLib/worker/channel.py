"""The worker's connection to its client: events out, commands in."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from SparseSegLib.protocol import HEARTBEAT_SECONDS, decode_command, encode

LONGEST_LINE = 1 << 20  # bytes; no command is nearly so long


class EventWriter:
    """Writes events to the real standard output, one whole line at a time, from any thread.

    Whatever else prints, C libraries included, goes to standard error (the log) from then on.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._stream: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1, newline="\n")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._lock = threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        """Send one event; a client that is gone does not disturb the work."""
        line = encode(kind, **fields) + "\n"
        with self._lock, suppress(OSError, ValueError):  # closed
            self._stream.write(line)
            self._stream.flush()

    def beat(self, stop: threading.Event) -> None:
        """Send heartbeats from a thread of its own until ``stop`` is set."""

        def loop() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                self.send("heartbeat")

        threading.Thread(target=loop, name="heartbeat", daemon=True).start()


def listen(handle: Callable[[dict[str, Any]], None], closed: Callable[[], None]) -> None:
    """Read commands from standard input in a thread of its own; call ``closed`` when the client is gone.

    No line ends it, whatever is in it. Nothing else finds anything in standard input from then on.
    """
    own = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def loop() -> None:
        try:
            with os.fdopen(own, "rb") as stream:
                while line := stream.readline(LONGEST_LINE):
                    _take(line, handle)
        except OSError as error:
            logging.warning("the commands ended: %s", error)
        closed()

    threading.Thread(target=loop, name="commands", daemon=True).start()


def _take(line: bytes, handle: Callable[[dict[str, Any]], None]) -> None:
    try:
        command = decode_command(line)
        if command is not None:
            handle(command)
    except Exception as error:  # whatever a line does, the next one may be "cancel"
        logging.warning("a command was passed over: %r", error)
