"""Files that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from SparseSegLib.errors import FileError, ResourceError

PathLike = str | os.PathLike[str]

_NAME_MAX = 255
_WINDOWS = os.name == "nt"
REPLACE_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds to wait between tries to replace a file that a program has open."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EFBIG}


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, and put it in the place of ``path`` when the block ends well.

    The temporary file lies in the same folder and ends in the same suffixes, so that writers choose the right
    format. If the block raises, ``path`` is left as it was and nothing stays behind.

    Raises
    ------
    ResourceError
        If the disk is full.
    FileError
        If the folder does not exist or may not be written to, the name is too long, or the block wrote nothing.
    """
    path = Path(path)
    check_name_length(path)
    suffixes = "".join(path.suffixes[-2:])[-40:]
    temporary = path.with_name(f".{secrets.token_hex(8)}.part{suffixes}")
    try:
        if not path.parent.is_dir():
            raise FileError(f"Cannot write {path}: the folder does not exist.", "Create it, or choose another one.")
        if path.is_dir():
            raise FileError(f"Cannot write {path}: it is a folder.", "Choose the name of a file.")
        yield temporary
        if not temporary.is_file():
            raise FileError(f"Cannot write {path}: nothing was written.")
        _flush_to_disk(temporary)
        replace_file(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_name_length(path: PathLike) -> None:
    """Raise FileError if the name of a file is longer than the disk of its folder can keep."""
    path = Path(path)
    longest = _NAME_MAX
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows; a folder that does not exist
        longest = os.pathconf(path.parent, "PC_NAME_MAX")
    length = len(path.name) if os.name == "nt" else len(os.fsencode(path.name))
    if length > longest:
        raise FileError(
            f"Cannot write {path.name[:60]}…: the name is too long, {length} bytes; the folder keeps {longest}.",
            "Choose a shorter name.",
        )


def replace_file(source: PathLike, target: PathLike) -> None:
    """Rename a file to the place of another one; on Windows wait a moment for whoever has that open (virus scanners).

    Raises OSError, PermissionError among them where a program keeps it open.
    """
    for pause in REPLACE_PAUSES:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not _WINDOWS:
                raise
            time.sleep(pause)
    os.replace(source, target)


def write_error(path: PathLike, error: OSError) -> FileError | ResourceError:
    """Return the error to show to the user for an OSError that writing ``path`` met."""
    if error.errno in _FULL or "requested and" in str(error):  # numpy's words for a write that came up short
        return no_space(path)
    reason = error.strerror or str(error)
    return FileError(
        f"Cannot write {path}: {reason}.",
        "Check that the folder may be written to and that no program has the file open.",
    )


def no_space(path: PathLike) -> ResourceError:
    """Return the error to show to the user when the disk of ``path`` is full."""
    return ResourceError(f"Cannot write {path}: the disk is full.", "Free some space or choose another disk.")


def flush_folder(folder: PathLike) -> None:
    """Have the names in a folder written to the disk, so that a rename outlasts a power cut, where that is possible."""
    with contextlib.suppress(OSError, AttributeError):  # Windows has no O_DIRECTORY, network disks may refuse
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 text, whole or not at all; raises as `atomic_path` does.

    Of a name that is not in UTF-8, each byte that cannot be is written as an escape.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: PathLike, value: Any) -> None:
    """Write a value as JSON, whole or not at all: UTF-8, indented, umlauts as they are.

    Raises
    ------
    ValueError, TypeError
        If the value cannot be JSON (NaN included); the file is left as it was.
    ResourceError, FileError
        As `atomic_path` does.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
