"""What the command line shows: a progress bar on a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

PLAIN_SECONDS = 5.0
BAR_WIDTH = 28


class Console:
    """Writes results to stdout, and progress and messages to stderr.

    Parameters
    ----------
    as_json : bool
        Print results as one JSON object instead of text; progress is then left out.
    """

    def __init__(self, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._terminal = self._err.isatty()
        self._last_plain = -PLAIN_SECONDS
        self._bar_shown = False

    def result(self, values: dict[str, Any], text: str) -> None:
        """The result of a command: ``values`` for programs, ``text`` for people."""
        self.clear()
        print(json.dumps(values, ensure_ascii=False) if self.as_json else text, file=self._out, flush=True)

    def message(self, text: str) -> None:
        """A line about what happens."""
        self.clear()
        if not self.as_json:
            print(text, file=self._err, flush=True)

    def error(self, message: str, hint: str, code: str) -> None:
        """What went wrong and what to do; as JSON on stdout too where a program reads along."""
        self.clear()
        if self.as_json:
            print(json.dumps({"error": code, "message": message, "hint": hint}), file=self._out, flush=True)
        print(f"sparseseg: {message}" + (f"\n  {hint}" if hint else ""), file=self._err, flush=True)

    def progress(self, fraction: float, seconds_left: float | None, note: str = "") -> None:
        """How far along the work is, 0 to 1."""
        if self.as_json:
            return
        left = "" if seconds_left is None else f"{_clock(seconds_left)} left"
        line = "  ".join(part for part in (f"{fraction:4.0%}", left, note) if part)
        if self._terminal:
            filled = round(BAR_WIDTH * fraction)
            self._err.write(f"\r\033[K[{'█' * filled}{'·' * (BAR_WIDTH - filled)}] {line}")
            self._err.flush()
            self._bar_shown = True
        elif time.monotonic() - self._last_plain >= PLAIN_SECONDS:
            self._last_plain = time.monotonic()
            print(line, file=self._err, flush=True)

    def clear(self) -> None:
        """Take the progress bar away."""
        if self._bar_shown:
            self._err.write("\r\033[K")
            self._err.flush()
            self._bar_shown = False


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
