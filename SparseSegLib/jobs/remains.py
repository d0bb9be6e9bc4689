"""What was left on the disk: folders of jobs that a crash left, results that were kept, logs of errors; its removal.

Models, the folders of ``--job``, and results are the user's, and no part of it. Standard library only.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from SparseSegLib.files.temporary import LOCK, PREFIX, is_held, is_in_use, remove_folder
from SparseSegLib.models.library import VARIABLE, user_folder
from SparseSegLib.protocol import JOB_FILE, LOCK_FILE

Kind = Literal["job", "log", "note"]

LOG_PREFIX = f"{PREFIX}log-"
NOTE_PREFIX = f"{PREFIX}reading-"
LOG = re.compile(r"\d{8}-\d{6}-\d+\.txt")
DAY = 86_400  # seconds; a note of which file is being read is rewritten where it goes meanwhile
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Remains:
    """A file or folder that was left.

    Attributes
    ----------
    path : where
    kind : "job" (a folder with images, labels and results), "log" (the path of a file may be in it), or "note" (of the
        file that a process was reading)
    size : bytes
    in_use : whether a process works with it, so that it stays
    """

    path: Path
    kind: Kind
    size: int
    in_use: bool


def log_folders() -> list[Path]:
    """The folders for logs of errors, there or not: beside the user's models, and in that for temporary files."""
    plain = {key: value for key, value in os.environ.items() if key != VARIABLE}
    return [user_folder(plain).parent / "Logs", Path(tempfile.gettempdir()) / "SparseSeg" / "Logs"]


def find_remains(places: Iterable[Path] = ()) -> list[Remains]:
    """Find what this user's jobs and commands left, the oldest first.

    ``places`` are folders for temporary files to look into besides the system's and those of Slicer that are in it.
    """
    system = Path(tempfile.gettempdir())
    slicers = [folder for folder in _entries(system) if folder.name.split("-")[0] == "Slicer"]
    found: dict[Path, Remains] = {}
    for place in (system, *slicers, MEMORY, *places):
        for entry in _entries(place):
            if entry.name.startswith(PREFIX) and (kind := _kind(entry)) is not None:
                found[entry.resolve()] = Remains(entry, kind, _size(entry), _is_in_use(entry, kind))
    for folder in log_folders():
        for entry in _entries(folder):
            if LOG.fullmatch(entry.name) and entry.is_file():
                found[entry.resolve()] = Remains(entry, "log", _size(entry), False)
    return sorted(found.values(), key=lambda one: (_changed(one.path), one.path))


def remove_remains(remains: Iterable[Remains]) -> list[Remains]:
    """Remove what was found, but for what a process works with by now; what is still there."""
    left = []
    for one in remains:
        with suppress(OSError):
            if _is_in_use(one.path, one.kind):
                pass
            elif one.path.is_dir():
                remove_folder(one.path)
            else:
                one.path.unlink()
        if os.path.lexists(one.path):
            left.append(one)
    return left


def _kind(entry: Path) -> Kind | None:
    """What an entry of a folder for temporary files is; None if it is not surely ours and this user's."""
    with suppress(OSError):
        status = entry.lstat()
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            return None
        if entry.is_symlink():
            return None
        if entry.is_file():
            return "note" if entry.name.startswith(NOTE_PREFIX) else None
        if entry.name.startswith(LOG_PREFIX):
            return "log"
        if (entry / LOCK).is_file() or (entry / JOB_FILE).is_file():
            return "job"
    return None


def _is_in_use(entry: Path, kind: Kind) -> bool:
    """Whether a process works with it, its owner or a worker; what cannot be told counts as that."""
    if kind == "note":
        return time.time() - _changed(entry) < DAY
    if kind == "log":
        return False
    try:
        if (entry / LOCK).exists() and is_in_use(entry / LOCK):
            return True
        return any(is_held(lock) for lock in (entry / LOCK_FILE, *entry.glob(f"*/{LOCK_FILE}")) if lock.exists())
    except OSError:
        return True


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _size(entry: Path) -> int:
    return sum(status.st_size for status in _all_status(entry))


def _all_status(entry: Path) -> Iterator[os.stat_result]:
    with suppress(OSError):
        yield entry.lstat()
    if entry.is_dir() and not entry.is_symlink():
        for folder, _, files in os.walk(entry):
            for name in files:
                with suppress(OSError):
                    yield os.lstat(os.path.join(folder, name))


def _changed(entry: Path) -> float:
    with suppress(OSError):
        return entry.lstat().st_mtime
    return 0.0
