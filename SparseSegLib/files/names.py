"""Names for files and folders that every system takes, and paths that stay inside a folder. Standard library only."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from SparseSegLib.errors import JobError
from SparseSegLib.text import plain_text

LONGEST = 200
"""Bytes of UTF-8 that a name may take; file systems take 255, and suffixes come after it."""

_REFUSED = re.compile(r'[<>:"/\\|?*]+')
_RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"
}


def safe_file_name(name: str, default: str = "unnamed") -> str:
    """Return a name for a file or folder that Linux, macOS and Windows take.

    Characters that one of them refuses become "-", dots and blanks at the ends go, a name that Windows reserves gets
    an underscore, and one that is too long (in UTF-8) ends in a short hash, so that long names stay different.

    Parameters
    ----------
    name : str
        Any text, without the suffix that will come after it.
    default : str
        What to return where nothing is left.
    """
    seen = "".join(char for char in plain_text(name) if unicodedata.category(char) != "Cf")  # nor what has no width
    plain = unicodedata.normalize("NFC", _REFUSED.sub("-", seen)).strip(". ")
    if not plain:
        return default
    if plain.split(".")[0].rstrip(" ").upper() in _RESERVED:
        plain = f"_{plain}"
    encoded = plain.encode("utf-8")
    if len(encoded) <= LONGEST:
        return plain
    mark = "-" + hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: LONGEST - len(mark)].decode("utf-8", "ignore").rstrip(". ") + mark


def path_inside(folder: Path, name: Any) -> Path:
    """Return the path of a file in a job's folder.

    Raises
    ------
    JobError
        If ``name`` is no relative path that stays inside the folder, links resolved.
    """
    wrong = JobError(
        f"{plain_text(str(name))[:200]} is no file in the job's folder.", "Give a name without a folder before it."
    )
    if not isinstance(name, str) or not name or "\0" in name:
        raise wrong
    kinds = (PurePosixPath(name), PureWindowsPath(name))
    if any(kind.anchor or ".." in kind.parts for kind in kinds):
        raise wrong
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # links in a circle
        raise wrong from error
    if not inside or path.resolve() == folder.resolve():
        raise wrong
    return path
