"""Removal of files that killed runs left half written. Standard library only."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from pathlib import Path

PART = re.compile(r"\.[0-9a-f]{16}\.part(\.[^/\\]*)?")
"""Names of incomplete files of ``SparseSegLib.files.atomic``."""

PREVIEW = re.compile(r"preview-\d{6,}(-planes)?\.(nrrd|txt)")
"""Names of the worker's previews."""


def remove_leftovers(folder: Path, before: float) -> None:
    """Remove files that a killed run left half written in a folder.

    Only regular files go whose names are ours and that were last changed before a point in time (seconds since 1970):
    call it with one at which no other run was writing in the folder.
    """
    _remove(folder, PART, before)


def remove_previews(folder: Path) -> None:
    """Remove the previews of a worker that is at work no longer."""
    _remove(folder, PREVIEW, math.inf)


def _remove(folder: Path, name: re.Pattern[str], before: float) -> None:
    with suppress(OSError):
        for path in [entry for entry in folder.iterdir() if name.fullmatch(entry.name)]:
            with suppress(OSError):
                if path.is_file() and not path.is_symlink() and path.stat().st_mtime < before:
                    path.unlink()
