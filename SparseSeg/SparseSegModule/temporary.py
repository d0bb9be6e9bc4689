"""Slicer's temporary folder, and memory as the place of files that soon go again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import slicer

from SparseSegLib.files import TemporaryFolder

MEMORY = Path("/dev/shm")
"""Linux has the files of this folder in memory; other systems have no such folder."""

MEMORY_INFORMATION = Path("/proc/meminfo")
ROOM = 4
"""Memory must be free for so many times what is put there: who reads it needs some, too."""


def temporaryFolder() -> TemporaryFolder:
    """A new folder in Slicer's temporary folder; it does not outlive the next start of the module."""
    return TemporaryFolder(Path(slicer.app.temporaryPath))


def hasRoomInMemory(size: int) -> bool:
    """Whether a file of so many bytes, that soon goes again, may lie in memory; nowhere but on Linux."""
    try:
        lines = dict(line.split(":") for line in MEMORY_INFORMATION.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
        free = shutil.disk_usage(MEMORY).free
    except (OSError, ValueError, KeyError):
        return False
    return os.access(MEMORY, os.W_OK) and size < free and ROOM * size < available
