"""The life of a worker process: lock the folder, run the task, say how it ended."""

from __future__ import annotations

import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from SparseSegLib import __version__
from SparseSegLib.control import CancelSource, Control, Mailbox
from SparseSegLib.errors import Canceled
from SparseSegLib.memory import prepare_for_tensors
from SparseSegLib.protocol import VERSION, read_job
from SparseSegLib.worker.channel import EventWriter, listen
from SparseSegLib.worker.events import JobEvents
from SparseSegLib.worker.explain import explain
from SparseSegLib.worker.lock import folder_lock
from SparseSegLib.worker.tasks import find_task


def run(folder: Path) -> int:
    """Run the job in ``folder``; the process's exit status (0, or the error's exit code)."""
    prepare_for_tensors()
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
