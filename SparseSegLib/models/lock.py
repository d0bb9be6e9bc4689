"""One writer at a time in a library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from SparseSegLib.errors import DependencyError, FileError

NAME = ".lock"
SECONDS = 60.0


@contextmanager
def library_lock(folder: Path, seconds: float = SECONDS) -> Iterator[None]:
    """Keep other writers, of this process and of others, out of a library's folder for the length of the block.

    The system releases the lock when a program ends. On disks without locks nobody is kept out.

    Raises
    ------
    FileError
        If another one keeps it for longer than ``seconds``, or nothing can be written there.
    DependencyError
        If the package filelock is missing.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise DependencyError(
            "Changing the library of models needs the package filelock.", "Install it with: pip install filelock"
        ) from error
    lock = FileLock(folder / NAME)
    try:
        with suppress(NotImplementedError):
            lock.acquire(timeout=seconds)
    except Timeout as error:
        raise FileError(
            f"Another program is changing the library {folder}.", "Wait until it is done, and try again."
        ) from error
    except OSError as error:
        raise FileError(
            f"The library {folder} cannot be changed: {error.strerror or error}.",
            "Check that the folder may be written to.",
        ) from error
    try:
        yield
    finally:
        lock.release()
