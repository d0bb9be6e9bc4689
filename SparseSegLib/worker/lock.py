"""One worker per job folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from SparseSegLib.errors import JobError
from SparseSegLib.protocol import LOCK_FILE


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; JobError if another living worker does. A dead worker's lock is taken over."""
    path = folder / LOCK_FILE
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            owner = _owner(path)
            if owner is not None and _alive(owner):
                raise JobError(
                    f"Another worker (process {owner}) is at work in {folder}.", "Wait for it, or cancel it first."
                ) from None
            with suppress(FileNotFoundError):
                path.unlink()
    try:
        os.write(descriptor, str(os.getpid()).encode())
        os.close(descriptor)
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _owner(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _alive(process: int) -> bool:
    if os.name == "nt":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, process)  # type: ignore[attr-defined]
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)  # type: ignore[attr-defined]
        return bool(handle)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _zombie(process)


def _zombie(process: int) -> bool:
    """Whether a process has ended and only waits to be reaped (Linux)."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return False
