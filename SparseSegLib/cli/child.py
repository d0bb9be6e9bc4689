"""The process that does the work of the command line: ``python child.py NOTE ARGUMENT…``.

It is run by its path: with ``-m`` Python would also import what lies in the current folder, which may be anybody's.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
import time
from typing import Any

WATCH_SECONDS = 0.5
ONE_PRESS = 1.0  # seconds: an interrupt that comes a second time so soon is the same one


def run(note: str, arguments: list[str]) -> int:
    """Run the command line; ``note`` is the file that names what is being read."""
    interrupts = _Interrupts()
    if os.name != "nt":
        threading.Thread(target=_end_with, args=(os.getppid(),), name="parent watch", daemon=True).start()
    from SparseSegLib.cli.program import main
    from SparseSegLib.cli.streams import forget_output
    from SparseSegLib.files import keep_note_in

    keep_note_in(note)
    try:
        interrupts.ready = True
        status = main(arguments)
        interrupts.ready = False
    except KeyboardInterrupt:  # once more, while the first one was being reported
        os._exit(130)
    forget_output()
    return status


class _Interrupts:
    """Ends the process without a word before the command line is ready, and raises KeyboardInterrupt after that."""

    def __init__(self) -> None:
        self.ready = False
        self._last = -ONE_PRESS
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})

    def _take(self, number: int, frame: Any) -> None:
        if not self.ready:
            os._exit(130)
        now = time.monotonic()
        if now - self._last < ONE_PRESS:
            return
        self._last = now
        raise KeyboardInterrupt


def _end_with(parent: int) -> None:
    """End this process when its parent has ended: nobody would get its results."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(130)


def _load_package() -> None:
    """Import this very package, wherever Python would look for it, and nothing from the folder of this file."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    folder = os.path.dirname(here)
    spec = importlib.util.spec_from_file_location(
        "SparseSegLib", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _load_package()
    sys.exit(run(sys.argv[1], sys.argv[2:]))
