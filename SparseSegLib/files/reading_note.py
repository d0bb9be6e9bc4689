"""A note on which file is being read, to explain why a process died. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_file: list[str] = []


def keep_note_in(file: str) -> None:
    """From now on keep in ``file`` the path that is being read; it is empty while none is."""
    _file[:] = [file]


def noted_in(file: str | os.PathLike[str]) -> str:
    """Return the path that was being read by a process which kept a note in ``file``, or an empty string."""
    with suppress(OSError), open(file, "rb") as note:
        return os.fsdecode(note.read())
    return ""


@contextmanager
def noting(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say that ``path`` is being read while the block runs."""
    if not _file:
        yield
        return
    _write(os.fsencode(path))
    try:
        yield
    finally:
        _write(b"")


def _write(content: bytes) -> None:
    with suppress(OSError), open(_file[0], "wb") as file:
        file.write(content)
