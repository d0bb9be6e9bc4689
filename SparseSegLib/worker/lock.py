"""One worker per folder: a lock of the operating system, which ends with the process that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SparseSegLib.errors import FileError, JobError
from SparseSegLib.protocol import LOCK_FILE


@contextmanager
def folder_lock(folder: Path, name: str = LOCK_FILE) -> Iterator[None]:
    """Hold the folder's lock.

    The lock is on an open file, so that it is never left over from a worker that died. The file itself stays.

    Raises
    ------
    JobError
        If another worker holds it.
    FileError
        If the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / name)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise JobError(f"Another worker is at work in {folder}.", "Wait for it, or cancel it first.") from None
    except (OSError, NotImplementedError) as error:
        raise FileError(
            f"{folder / name} cannot be locked: {error}.", "Choose a folder that may be written to, on another disk."
        ) from error
    try:
        yield
    finally:
        lock.release()
