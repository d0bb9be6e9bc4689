"""The life of a worker process: lock the folder, run the task, say how it ended."""

from __future__ import annotations

import errno
import logging
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from SparseSegLib import __version__
from SparseSegLib.control import CancelSource, Control, Mailbox
from SparseSegLib.errors import Canceled, FileError, ResourceError, SparseSegError
from SparseSegLib.protocol import VERSION, read_job
from SparseSegLib.worker.channel import EventWriter, listen
from SparseSegLib.worker.events import JobEvents
from SparseSegLib.worker.lock import folder_lock
from SparseSegLib.worker.tasks import find_task

INTERNAL_EXIT = 70


def run(folder: Path) -> int:
    """Run the job in ``folder``; the process's exit status (0, or the error's exit code)."""
    writer = EventWriter()
    ended = threading.Event()
    writer.beat(ended)
    try:
        writer.send("started", protocol=VERSION, version=__version__)
        with folder_lock(folder):
            files, figures = _work(folder, writer)
        ended.set()
        writer.send("result", files=files, figures=figures)
        return 0
    except Canceled:
        ended.set()
        writer.send("canceled")
        return Canceled.exit_code
    except BaseException as error:
        ended.set()
        traceback.print_exc(file=sys.stderr)
        message, hint, code, status = explain(error)
        writer.send("failed", code=code, message=message, hint=hint)
        return status


def _work(folder: Path, writer: EventWriter) -> tuple[dict[str, str], dict[str, Any]]:
    job = read_job(folder)
    source, updates = CancelSource(), Mailbox()
    events = JobEvents(folder, writer)
    task = find_task(job["task"])

    def handle(command: dict[str, Any]) -> None:
        if command["command"] == "cancel":
            source.cancel()
        elif command["command"] == "stop":
            source.stop()
        else:
            updates.put(command.get("file"))

    listen(handle, source.cancel)
    return task(folder, job, Control(source.token, events, updates))


def explain(error: BaseException) -> tuple[str, str, str, int]:
    """Message, hint, code and exit status for whatever ended a task."""
    if isinstance(error, SparseSegError):
        return error.message, error.hint, error.code, error.exit_code
    if isinstance(error, MemoryError):
        error = ResourceError("There is not enough memory.", "Use a smaller region, or close other programs.")
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        error = ResourceError("The disk is full.", "Make room and resume the job.")
    elif isinstance(error, OSError):
        error = FileError(f"A file could not be read or written: {error}.", "Check the path and the permissions.")
    elif isinstance(error, ModuleNotFoundError):
        message = f"The Python package {error.name} is not installed."
        return message, "Install it (in Slicer: the PyTorch extension) and try again.", "dependency", 8
    else:
        logging.error("unexpected: %r", error)
        message = f"Something unexpected happened: {type(error).__name__}: {error}"
        return message, "The log file has the details; please report them.", "internal", INTERNAL_EXIT
    return error.message, error.hint, error.code, error.exit_code
