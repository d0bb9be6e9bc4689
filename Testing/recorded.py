"""Workers that are not started: what one said and wrote once is played back to a job."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from SparseSegLib.jobs import start_worker


class Recorded:
    """A process that says what was recorded and ends."""

    def __init__(self, output: bytes, status: int) -> None:
        self.stdin, self.stdout = io.BytesIO(), io.BytesIO(output)
        self.status = status

    def poll(self) -> int:
        """It has ended."""
        return self.status

    def wait(self, timeout: float | None = None) -> int:
        """It has ended."""
        return self.status

    def kill_tree(self) -> None:
        """Nothing to end."""


class PlayedBack:
    """Launches jobs: the first one in a worker, as usual; further ones get the events and files of the first.

    Parameters
    ----------
    kept : a folder that does not exist yet, for the files
    """

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self.output = b""

    def __call__(self, folder: Path, interpreter: str | None = None) -> Recorded:
        """What ``launch`` of a job is; the first time it returns when the worker has ended."""
        if not self.output:
            with start_worker(folder, interpreter) as worker:
                self.output = worker.stdout.read()
            assert worker.returncode == 0
            shutil.copytree(folder, self.kept)
        shutil.copytree(self.kept, folder, dirs_exist_ok=True)
        return Recorded(self.output, 0)
