"""Folders for files that pass. Each is locked as long as its process lives, so that what a crash left is recognized.

Standard library only.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

PREFIX = "sparseseg-"
LOCK = "in-use.lock"
YOUNG_SECONDS = 60  # in which whoever makes a folder may not have locked it yet


class TemporaryFolder:
    """A folder of this process; it is locked until it is removed or the process ends, in whatever way.

    Parameters
    ----------
    parent : where to make it; by default in the system's folder for temporary files

    Attributes
    ----------
    path : where it is
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._file = (self.path / LOCK).open("wb")
        with suppress(OSError):  # on disks without locks it stays, as nobody can tell whether it is in use
            _lock(self._file)

    def make(self, name: str) -> Path:
        """A new folder in it, whose name begins so."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.path))

    def keep(self) -> None:
        """Leave it to the user: only he removes it from now on."""
        self._file.close()
        with suppress(OSError):
            (self.path / LOCK).unlink()

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self._file.close()
        with suppress(OSError):
            remove_folder(self.path)

    def __enter__(self) -> TemporaryFolder:
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()


def remove_abandoned(parent: Path) -> None:
    """Remove what a crash left in a folder for temporary ones: those with a lock that no process holds any longer."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if not folder.is_symlink() and not is_in_use(folder / LOCK):
                remove_folder(folder)


def is_in_use(lock: Path) -> bool:
    """Whether a process holds a lock, or may be about to; OSError if there is no such file."""
    return time.time() - lock.stat().st_mtime < YOUNG_SECONDS or is_held(lock)


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock; OSError if there is no such file."""
    with lock.open("r+b") as file:
        try:
            _lock(file)
        except OSError:
            return True
    return False


def remove_folder(folder: Path) -> None:
    """Remove a folder, its lock last: what cannot be deleted now is found again later."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            with suppress(OSError):
                entry.unlink()
    if {entry.name for entry in folder.iterdir()} <= {LOCK}:
        shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[bytes]) -> None:
    """Lock a file as long as it is open; OSError if another process has."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
