"""How the tests' jobs start their workers: on Linux by a fork of a process that has imported the engine already.

Three files of the module's tests take 60 s so, and 81 s with workers that import torch anew. The forks learn with fewer
and smaller experts than users have: what those find is tested with the engine. Package and module
themselves never use ``multiprocessing``, which hangs inside of Slicer's Python; a test of the layers sees to that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from SparseSegLib.densify.experts import ExtraTreesRecipe, RandomWalkRecipe, SliceUNetRecipe
from SparseSegLib.densify.settings import PRESETS
from SparseSegLib.jobs import Job, WorkerProcess, start_worker
from SparseSegLib.protocol import LOG_FILE

IMPORTED = [
    "SparseSegLib.worker.process",
    "SparseSegLib.worker.densify_task",
    "SparseSegLib.worker.segment_task",
    "SparseSegLib.worker.train_task",
    "sklearn.ensemble",
    "torch._dynamo",
]
SMALL_EXPERTS = (SliceUNetRecipe(widths=(8, 16), crop=48), ExtraTreesRecipe(trees=10), RandomWalkRecipe())

Launch = Callable[[Path, str | None], WorkerProcess]


def launch_with(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``launch`` start the worker of every job, as far as the job says nothing else."""
    monkeypatch.setattr(Job.__init__, "__defaults__", (None, launch))


def fork_worker(folder: Path, interpreter: str | None = None) -> WorkerProcess:
    """What ``start_worker`` does, some seconds faster on Linux; elsewhere a fork does not suit torch."""
    return ForkedWorker(folder) if sys.platform == "linux" else start_worker(folder, interpreter)


class ForkedWorker:
    """A worker of the fork server, with pipes as of a child process."""

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        commands, events = os.pipe(), os.pipe()
        theirs = Connection(commands[0], writable=False), Connection(events[1], readable=False)
        self.stdin, self.stdout = os.fdopen(commands[1], "wb"), os.fdopen(events[0], "rb")
        self._process = context.Process(target=_work, args=(folder, dict(os.environ), *theirs), daemon=True)
        self._process.start()
        self.pid = self._process.pid
        for end in theirs:
            end.close()

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the exit status."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return self._process.exitcode

    def kill_tree(self) -> None:
        """End the process and all that it started, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # it may not lead its group yet


def _work(folder: Path, environment: dict[str, str], commands: Connection, events: Connection) -> None:
    """Run the job, in the forked process."""
    from SparseSegLib.worker.process import run

    PRESETS["fast"] = replace(PRESETS["fast"], experts=SMALL_EXPERTS)
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    log = os.open(folder / LOG_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for source, target in ((commands.fileno(), 0), (events.fileno(), 1), (log, 2)):
        os.dup2(source, target)
    commands.close()
    events.close()
    sys.exit(run(folder))
