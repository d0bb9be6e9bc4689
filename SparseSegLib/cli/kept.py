"""Logs of errors."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from SparseSegLib.jobs.remains import LOG_PREFIX, log_folders
from SparseSegLib.protocol import LOG_FILE

MOST = 20


def logs_folder() -> Path:
    """The first of the folders for logs that can be written to."""
    for folder in log_folders():
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return Path(tempfile.mkdtemp(prefix=LOG_PREFIX))


def keep_log(job: Path, *, temporary: bool) -> Path:
    """The path of a job's log: in its folder, or in a folder for logs if that folder is going to be removed."""
    log = job / LOG_FILE
    if not temporary:
        return log
    kept = _new_log()
    try:
        shutil.copyfile(log, kept)
    except OSError:
        return log
    return kept


def keep_traceback(error: BaseException) -> Path:
    """Write where an error came from into a new log; its path."""
    path = _new_log()
    with suppress(OSError):
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
    return path


def _new_log() -> Path:
    """The path of a log that is not there yet; the oldest of many are removed."""
    folder = logs_folder()
    with suppress(OSError):
        for old in sorted(folder.glob("*.txt"), key=lambda path: path.name)[: -MOST + 1]:
            old.unlink()
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
