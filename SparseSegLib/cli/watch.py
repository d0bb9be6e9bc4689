"""Learning again whenever the annotation on the disk has changed."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from SparseSegLib.annotation.plane_list import planes_path
from SparseSegLib.cli.placed import Placed
from SparseSegLib.jobs import Job

WATCH_SECONDS = 3600.0
SETTLE_SECONDS = 0.5
"""A file that has not changed for so long is taken to be whole."""


class Watch:
    """Tends a job that stays: hands it new annotation, and takes the results of its rounds.

    Parameters
    ----------
    labels : file with the annotation; the list of its planes beside it is watched, too
    placed : takes the results
    """

    def __init__(self, labels: Path, placed: Placed) -> None:
        self.labels = labels.absolute()
        self.placed = placed
        self._taken = 0
        self._known = self._last = self._stamp()
        self._since = time.monotonic()

    def __call__(self, job: Job) -> None:
        """Do what is to be done now."""
        if len(job.rounds) > self._taken:
            self._taken = len(job.rounds)
            self.placed.take(job.rounds[-1])
        if self._has_changed():
            job.update_annotation(self.labels)

    def _has_changed(self) -> bool:
        """Whether the annotation is another one than was known, and whole; it is known from then on."""
        stamp = self._stamp()
        if stamp != self._last:
            self._last, self._since = stamp, time.monotonic()
        settled = time.monotonic() - self._since >= SETTLE_SECONDS
        if stamp == self._known or not settled or not self.labels.is_file():
            return False
        self._known = stamp
        return True

    def _stamp(self) -> list[tuple[int, int]]:
        """Times and sizes by which the files are recognized as unchanged."""
        found = []
        for path in (self.labels, planes_path(self.labels)):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size))
        return found
