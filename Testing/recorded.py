"""Workers that are not started: what one said and wrote once is played back to a job."""

from __future__ import annotations

import io
import json
import os
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


class RecordedStaying:
    """A process that says what was recorded, and stays until it is killed."""

    def __init__(self, output: bytes) -> None:
        self.stdin = io.BytesIO()
        reader, self._writer = os.pipe()
        self.stdout = os.fdopen(reader, "rb")
        os.write(self._writer, output)  # a pipe takes more than a recording has
        self._ended = False

    def poll(self) -> int | None:
        """Whether it was killed."""
        return -9 if self._ended else None

    def wait(self, timeout: float | None = None) -> int | None:
        """Nothing is waited for."""
        return self.poll()

    def kill_tree(self) -> None:
        """It ends."""
        if not self._ended:
            self._ended = True
            os.close(self._writer)


class PlayedBack:
    """Launches jobs: the first one in a worker, as usual; further ones get the events and files of the first.

    Of a worker that stays, that is the first round.

    Parameters
    ----------
    kept : a folder that does not exist yet, for the files
    """

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self.output = b""

    def __call__(self, folder: Path, interpreter: str | None = None) -> RecordedStaying:
        """What ``launch`` of a job is; the first time it returns after the first round."""
        if not self.output:
            with start_worker(folder, interpreter) as worker:
                for line in worker.stdout:
                    self.output += line
                    if json.loads(line)["event"] in ("round", "failed"):
                        break
                shutil.copytree(folder, self.kept)
                worker.kill_tree()
            assert b'"round"' in self.output
        shutil.copytree(self.kept, folder, dirs_exist_ok=True)
        return RecordedStaying(self.output)
