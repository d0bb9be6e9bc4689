"""A process does not outlive the one that it works for. Standard library only."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def end_within(seconds: float, status: int) -> None:
    """End this process after some seconds with that exit status, whatever it does until then, unless it ended before.

    No clean-up is done then: what hangs would hang it, too.
    """
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()


def end_with_parent() -> None:
    """Have the system end this process at once when the thread that started it ends (Linux only).

    Works even while a library holds the interpreter, as ITK does while it reads.
    """
    if sys.platform != "linux":
        return
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
