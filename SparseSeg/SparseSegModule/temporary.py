"""Folders for files that pass, on the disk or in memory; none of them outlives the next start of the module."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import slicer

PREFIX = "sparseseg-"
LOCK = "in-use.lock"
YOUNG_SECONDS = 60  # in which whoever makes a folder may not have locked it yet

MEMORY = Path("/dev/shm")
"""Linux has the files of this folder in memory; other systems have no such folder."""

MEMORY_INFORMATION = Path("/proc/meminfo")
ROOM = 4
"""Memory must be free for so many times what is put there: who reads it needs some, too."""


class TemporaryFolder:
    """A folder of this process; it is locked until it is removed or the process ends, in whatever way.

    Parameters
    ----------
    parent : where to make it; by default in Slicer's temporary folder
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent or slicer.app.temporaryPath))
        self._file = (self.path / LOCK).open("wb")
        with suppress(OSError):  # on disks without locks it stays, as nobody can tell whether it is in use
            _lock(self._file)

    def make(self, name: str) -> Path:
        """A new folder in it, whose name begins so."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.path))

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self._file.close()
        _remove(self.path)

    def __enter__(self) -> TemporaryFolder:
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()


def removeLeftovers(parent: Path) -> None:
    """Remove what a crash left in a folder for temporary ones: those with a lock that no process holds any longer."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if not folder.is_symlink() and not _isInUse(folder / LOCK):
                _remove(folder)


def hasRoomInMemory(size: int) -> bool:
    """Whether a file of so many bytes, that soon goes again, may lie in memory; nowhere but on Linux."""
    try:
        lines = dict(line.split(":") for line in MEMORY_INFORMATION.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
        free = shutil.disk_usage(MEMORY).free
    except (OSError, ValueError, KeyError):
        return False
    return os.access(MEMORY, os.W_OK) and size < free and ROOM * size < available


def _isInUse(path: Path) -> bool:
    """Whether a lock is held; OSError if there is none."""
    if time.time() - path.stat().st_mtime < YOUNG_SECONDS:
        return True
    with path.open("r+b") as file:
        try:
            _lock(file)
        except OSError:
            return True
    return False


def _lock(file: IO[bytes]) -> None:
    """Lock a file as long as it is open; OSError if another process has."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: what cannot be deleted now is found again at the next start."""
    for entry in folder.iterdir():
        if entry.name != LOCK:
            shutil.rmtree(entry, ignore_errors=True)
    if [entry.name for entry in folder.iterdir()] == [LOCK]:
        shutil.rmtree(folder, ignore_errors=True)
