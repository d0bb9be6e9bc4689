"""Starting a worker process, and ending it with everything that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from SparseSegLib.protocol import LOG_FILE


class WorkerProcess(Protocol):
    """The process interface that a job uses; tests put a recorded session in its place."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit status."""

    def kill_tree(self) -> None:
        """End the process and all that it started, at once."""


class ChildProcess(subprocess.Popen):  # type: ignore[type-arg]
    """A worker in a session (POSIX) or process group (Windows) of its own, so that its children can be ended too."""

    def kill_tree(self) -> None:
        """End the process and all that it started, at once."""
        if os.name == "nt":
            flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
            subprocess.run(
                ["taskkill", "/F", "/T", "/PID", str(self.pid)], capture_output=True, check=False, creationflags=flags
            )
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def start_worker(folder: Path, interpreter: str | None = None) -> ChildProcess:
    """Start ``python -m SparseSegLib.worker`` on a job folder.

    ``interpreter`` is the Python to use; in Slicer that is PythonSlicer. Standard error goes to the folder's log file.
    """
    package_parent = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ)
    paths = [package_parent, *filter(None, [environment.get("PYTHONPATH")])]
    environment.update(PYTHONPATH=os.pathsep.join(paths), PYTHONUNBUFFERED="1", PYTHONUTF8="1")
    environment["PYTHONSAFEPATH"] = "1"  # or "-m" would import what lies in the client's working directory
    # Threads that wait for each other spin for a moment first. A long moment costs much where another program is busy
    # on the cores (0.72 s a step with 30000 turns, 0.20 s with 3000, 0.22 s by default), and gains nothing alone.
    environment.setdefault("GOMP_SPINCOUNT", "3000")
    command = [interpreter or sys.executable, "-m", "SparseSegLib.worker", str(folder)]
    if threading.current_thread() is threading.main_thread():  # any other thread may end before the client does
        command.insert(-1, "--with-parent")
    with open(folder / LOG_FILE, "ab") as log:
        return ChildProcess(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=os.name != "nt",
            creationflags=(
                getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
            ),
        )
