"""The worker process: take commands, lock the folder, run the task, report how it ended."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from SparseSegLib import __version__
from SparseSegLib.control import Control
from SparseSegLib.errors import Canceled
from SparseSegLib.files import keep_note_in, remove_leftovers, remove_previews
from SparseSegLib.lifeline import end_within
from SparseSegLib.memory import prepare_for_tensors
from SparseSegLib.protocol import GRACE_SECONDS, READING_FILE, VERSION, read_job
from SparseSegLib.worker.channel import EventWriter, listen
from SparseSegLib.worker.commands import Commands
from SparseSegLib.worker.events import JobEvents
from SparseSegLib.worker.explain import explain
from SparseSegLib.worker.lock import folder_lock
from SparseSegLib.worker.tasks import find_task

JUST_NOW = 2.0  # seconds before the start in which a client may still have been writing


def run(folder: Path) -> int:
    """Run the job in ``folder``; the process's exit status (0, or the error's exit code)."""
    writer = EventWriter()
    commands = Commands(JobEvents(folder, writer))

    def client_is_gone() -> None:
        commands.cancel()
        end_within(GRACE_SECONDS, Canceled.exit_code)

    listen(commands.take, client_is_gone)  # before anything is imported or read that may take long, or hang
    prepare_for_tensors()
    ended = threading.Event()
    writer.beat(ended)
    status = _run(folder, writer, commands.control, ended)
    end_within(GRACE_SECONDS, status)  # a thread that hangs may keep the interpreter from its end
    return status


def _run(folder: Path, writer: EventWriter, control: Control, ended: threading.Event) -> int:
    """Run the job and send the event that ends it."""
    try:
        writer.send("started", protocol=VERSION, version=__version__)
        files, figures = _work(folder, control)
        ended.set()
        writer.send("result", files=files, figures=figures)
        return 0
    except Canceled:
        ended.set()
        writer.send("canceled")
        return Canceled.exit_code
    except BaseException as error:
        ended.set()
        message, hint, code, status = explain(error)
        writer.send("failed", code=code, message=message, hint=hint)
        with suppress(OSError):  # the log's disk may be full
            traceback.print_exc(file=sys.stderr)
        return status


def _work(folder: Path, control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    started = time.time()
    job = read_job(folder)
    with folder_lock(folder):
        keep_note_in(str(folder / READING_FILE))
        remove_previews(folder)
        remove_leftovers(folder, started - JUST_NOW)
        try:
            return find_task(job["task"])(folder, job, control)
        finally:
            (folder / READING_FILE).unlink(missing_ok=True)
            remove_leftovers(folder, started)  # a client that was writing then has long been done
