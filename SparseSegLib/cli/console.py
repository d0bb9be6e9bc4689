"""Output of the command line: a progress bar on a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

from SparseSegLib.cli.streams import forget_output
from SparseSegLib.files import write_error
from SparseSegLib.text import printable, printable_json, printable_lines

PLAIN_SECONDS = 5.0
BAR_WIDTH = 28


class Console:
    """Writes results to stdout, and progress and messages to stderr.

    Nothing that comes from files reaches a terminal as it is: see `SparseSegLib.text`.

    Parameters
    ----------
    as_json : bool
        Print results as JSON instead of text; progress is then left out.
    """

    def __init__(self, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._terminal = self._err.isatty()
        self._blocks = ("█", "·") if _takes(self._err, "█·") else ("#", ".")
        self._last_plain = -PLAIN_SECONDS
        self._bar_shown = False

    def result(self, values: dict[str, Any] | list[Any], text: str) -> None:
        """The result of a command: ``values`` for programs, ``text`` for people.

        Raises
        ------
        FileError, ResourceError
            If it cannot be written, as where standard output goes to a full disk.
        """
        self.clear()
        try:
            print(self._json(values) if self.as_json else printable_lines(text), file=self._out, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            forget_output()
            raise write_error("the standard output", error) from error

    def _json(self, values: Any) -> str:
        """JSON that the stream can take."""
        values = _finite(values)
        text = printable_json(json.dumps(values, ensure_ascii=False))
        return text if _takes(self._out, text) else json.dumps(values)

    def message(self, text: str) -> None:
        """A line about what happens."""
        self.clear()
        if not self.as_json:
            self._say(printable_lines(text) + "\n")

    def error(self, message: str, hint: str, code: str) -> None:
        """Print an error and its hint; with ``--json`` also as JSON on stdout."""
        self.clear()
        if self.as_json:
            print(json.dumps({"error": code, "message": message, "hint": hint}), file=self._out, flush=True)
        text = f"sparseseg: {message}" + (f"\n  {hint}" if hint else "")
        self._say(printable_lines(text) + "\n")

    def progress(self, fraction: float, seconds_left: float | None, note: str = "") -> None:
        """Show the progress, 0 to 1."""
        if self.as_json:
            return
        left = "" if seconds_left is None else f"{_clock(seconds_left)} left"
        line = printable("  ".join(part for part in (f"{fraction:4.0%}", left, note) if part))
        if self._terminal:
            filled = round(BAR_WIDTH * fraction)
            full, empty = self._blocks
            self._say(f"\r\033[K[{full * filled}{empty * (BAR_WIDTH - filled)}] {line}")
            self._bar_shown = True
        elif time.monotonic() - self._last_plain >= PLAIN_SECONDS:
            self._last_plain = time.monotonic()
            self._say(line + "\n")

    def clear(self) -> None:
        """Take the progress bar away."""
        if self._bar_shown:
            self._say("\r\033[K")
            self._bar_shown = False

    def _say(self, text: str) -> None:
        """Write to stderr; that nobody reads it any more does not end the work."""
        with suppress(OSError, ValueError):
            self._err.write(text)
            self._err.flush()


def _finite(values: Any) -> Any:
    """The values with None for numbers that JSON lacks."""
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _takes(stream: TextIO, text: str) -> bool:
    """Whether a stream's encoding has these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
