"""Standard output and error that take any text, and that may be closed."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def open_descriptors() -> None:
    """Open those of the first three file descriptors that are closed: else the next files would take their places."""
    while True:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened > 2:
            os.close(opened)
            return


def prepare_streams() -> None:
    """Let characters that a terminal's encoding lacks be written as escapes instead of ending the program."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process lives
            continue
        with suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")


def forget_output() -> None:
    """Send what is still to be written to nowhere: whoever read it is gone, or there is no room for it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):
            stream.flush()
            continue
        with suppress(AttributeError, ValueError, OSError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
