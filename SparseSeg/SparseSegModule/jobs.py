"""The jobs that run now; several may."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import slicer

from SparseSegModule.jobHandle import JobHandle, Listener, Work


class Jobs:
    """Starts jobs in folders of their own under Slicer's temporary folder, and ends them all when need be."""

    def __init__(self) -> None:
        self._handles: list[JobHandle] = []
        self._weights: Path | None = None

    @property
    def running(self) -> list[JobHandle]:
        """The handles of jobs that have not ended."""
        self._handles = [handle for handle in self._handles if not handle.ended]
        return list(self._handles)

    def start(self, work: Work, listener: Listener | None, *, learning: bool = True) -> JobHandle:
        """Start a job; see JobHandle."""
        folder = Path(tempfile.mkdtemp(prefix="sparseseg-", dir=slicer.app.temporaryPath))
        handle = JobHandle(folder, work, listener, learning=learning)
        self._handles.append(handle)
        return handle

    def checkpoint(self, key: str) -> Path:
        """Where the last weights for ``key`` are kept, as long as the scene is open."""
        if self._weights is None:
            self._weights = Path(tempfile.mkdtemp(prefix="sparseseg-weights-", dir=slicer.app.temporaryPath))
        return self._weights / f"{key}.pt"

    def abandonAll(self) -> None:
        """End every job at once, without events; delete the checkpoints of this scene."""
        for handle in self.running:
            handle.abandon()
        if self._weights is not None:
            shutil.rmtree(self._weights, ignore_errors=True)
            self._weights = None
