"""Running a job from the command line: progress while it works, its error raised here."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from SparseSegLib.cli.console import Console
from SparseSegLib.errors import Canceled, InternalError, JobError, SparseSegError
from SparseSegLib.jobs import Job
from SparseSegLib.protocol import LOG_FILE, SILENCE_SECONDS

WITH_LOG = ("internal", "crashed")


def finish_job(job: Job, console: Console, tend: Callable[[Job], None] | None = None) -> dict[str, Any]:
    """Run a job to its end and return its ``result`` event; raises what the worker met.

    Ctrl-C cancels it; a worker that stays and has ended a round ends with what there is, and is canceled by another
    Ctrl-C.

    Parameters
    ----------
    job : not started yet
    console : shows events, and when the worker has been silent for long
    tend : is called again and again while the job runs, and when it has ended
    """
    silent = asked = False
    with job:
        while (ending := job.ending) is None:
            try:
                silent = _show_news(job, console, silent)
                if tend is not None:
                    tend(job)
                if job.ending is None:
                    time.sleep(0.02)
            except KeyboardInterrupt:
                if asked or not job.rounds:
                    raise
                asked = True
                job.stop()
                job.finish()
    console.clear()
    if ending["event"] == "failed":
        log = job.folder / LOG_FILE if ending["code"] in WITH_LOG else None
        raise error_of(ending, log)
    if ending["event"] == "canceled":
        raise Canceled
    return ending


def error_of(ending: dict[str, Any], log: Path | None = None) -> SparseSegError:
    """The exception for a ``failed`` event, or for a case that failed, with the code and the exit code of the worker's.

    ``log`` is where the details are, if they are worth a look.
    """
    kinds = {kind.code: kind for kind in SparseSegError.__subclasses__()}
    kind = kinds.get(ending["code"], JobError)
    hint = str(ending.get("hint", ""))
    if log is not None:
        where = f"The details are in {log}; please report them."
        hint = where if kind is InternalError else f"{hint}\n{where}".strip()
    return kind(ending["message"], hint)


def _show_news(job: Job, console: Console, silent: bool) -> bool:
    """Show what the worker has said, or that it has said nothing for long; whether it is silent."""
    for event in job.poll():
        silent = False
        _show(event, console)
    if silent or job.seconds_since_last_event <= SILENCE_SECONDS:
        return silent
    console.message(
        f"The worker has said nothing for {SILENCE_SECONDS:.0f} s: it may wait for a disk or for memory. "
        "Press Ctrl-C to cancel."
    )
    return True


def _show(event: dict[str, Any], console: Console) -> None:
    if event["event"] == "progress":
        notes = {
            "result_seconds": "{:.0f} s of it for the result",
            "loss": "loss {:.3f}",
            "estimated_iou": "IoU about {:.2f}",
        }
        note = "  ".join(text.format(event[name]) for name, text in notes.items() if event.get(name) is not None)
        console.progress(event["fraction"], event["seconds_left"], note)
    elif event["event"] == "message":
        console.message(event["text"])
    elif event["event"] == "preview":
        console.message(f"preview after {event['seconds']:.1f} s, step {event['step']}")
