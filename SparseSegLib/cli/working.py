"""Running a job from the command line: progress while it works, its error raised here."""

from __future__ import annotations

from typing import Any

from SparseSegLib.cli.console import Console
from SparseSegLib.errors import Canceled, SparseSegError
from SparseSegLib.jobs import Job


def finish_job(job: Job, console: Console) -> dict[str, Any]:
    """Run a job to its end and return its ``result`` event; raises what the worker met. Ctrl-C cancels it."""
    with job:
        ending = job.wait(on_event=lambda event: _show(event, console))
    console.clear()
    if ending["event"] == "failed":
        raise error_of(ending)
    if ending["event"] == "canceled":
        raise Canceled
    return ending


def error_of(ending: dict[str, Any]) -> SparseSegError:
    """The exception for a ``failed`` event, with the code and the exit code of the worker's."""
    kinds = {kind.code: kind for kind in SparseSegError.__subclasses__()}
    kind = kinds.get(ending["code"], kinds["job"])
    log = ending.get("log", "").strip()
    return kind(ending["message"], ending["hint"] + (f"\n{log}" if log else ""))


def _show(event: dict[str, Any], console: Console) -> None:
    if event["event"] == "progress":
        loss = "" if event["loss"] is None else f"loss {event['loss']:.3f}"
        estimate = event.get("estimated_iou")
        note = loss if estimate is None else f"{loss}  IoU about {estimate:.2f}"
        console.progress(event["fraction"], event["seconds_left"], note)
    elif event["event"] == "message":
        console.message(event["text"])
    elif event["event"] == "preview":
        console.message(f"preview after {event['seconds']:.1f} s, step {event['step']}")
