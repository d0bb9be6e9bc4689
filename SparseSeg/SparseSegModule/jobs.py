"""The jobs that run now; several may."""

from __future__ import annotations

from pathlib import Path

import slicer

from SparseSegLib.files import TemporaryFolder, remove_abandoned
from SparseSegModule.background import BackgroundCall
from SparseSegModule.jobHandle import JobHandle, Listener, Work
from SparseSegModule.temporary import MEMORY, hasRoomInMemory, temporaryFolder


class Jobs:
    """Starts jobs in folders of their own under Slicer's temporary folder; ends them all when need be, as at quitting.

    What a crash left there is removed in the background.
    """

    def __init__(self) -> None:
        self._handles: list[JobHandle] = []
        self._folder: TemporaryFolder | None = None
        self._memory: TemporaryFolder | None = None
        places = (Path(slicer.app.temporaryPath), MEMORY)
        self._cleaning = BackgroundCall(lambda: [remove_abandoned(place) for place in places])

    @property
    def running(self) -> list[JobHandle]:
        """The handles of jobs that have not ended."""
        self._handles = [handle for handle in self._handles if not handle.ended]
        return list(self._handles)

    def start(self, work: Work, listener: Listener | None, *, learning: bool = True) -> JobHandle:
        """Start a job; see JobHandle."""
        handle = JobHandle(self._ownFolder().make("job"), work, listener, learning=learning)
        self._handles.append(handle)
        return handle

    def memoryFolder(self, size: int) -> Path | None:
        """A new folder in memory for so many bytes that soon go again; None where there is no room."""
        if not hasRoomInMemory(size):
            return None
        self._ownFolder()  # what it leaves is removed together with that
        try:
            self._memory = self._memory or TemporaryFolder(MEMORY)
            return self._memory.make("job")
        except OSError:
            return None

    def checkpoint(self, key: str) -> Path:
        """Where the last weights for ``key`` are kept, as long as the scene is open."""
        folder = self._ownFolder().path / "weights"
        folder.mkdir(exist_ok=True)
        return folder / f"{key}.pt"

    def abandonAll(self) -> None:
        """End every job at once, without events; delete the checkpoints of this scene."""
        for handle in self.running:
            handle.abandon()
        if self._folder is not None:
            slicer.app.disconnect("aboutToQuit()", self.abandonAll)
            self._folder.remove()
            self._folder = None
        if self._memory is not None:
            self._memory.remove()
            self._memory = None

    def _ownFolder(self) -> TemporaryFolder:
        if self._folder is None:
            self._folder = temporaryFolder()
            slicer.app.connect("aboutToQuit()", self.abandonAll)
        return self._folder
