"""The words that worker and client exchange; the page ``Resources/Documentation/protocol.md`` describes them.

Standard library only: the client imports it inside Slicer.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from SparseSegLib.atomic import write_json
from SparseSegLib.errors import FileError

VERSION = 1
JOB_FILE = "job.json"
LOG_FILE = "log.txt"
LOCK_FILE = "worker.lock"
CHECKPOINT_FILE = "checkpoint.pt"

EVENTS = ("started", "progress", "preview", "message", "heartbeat", "result", "failed", "canceled")
ENDINGS = ("result", "failed", "canceled")
"""Exactly one of these ends a job."""

COMMANDS = ("update_annotation", "stop", "cancel")
HEARTBEAT_SECONDS = 1.0
SILENCE_SECONDS = 30.0
"""A worker that says nothing for so long deserves a word to the user."""


def encode(kind: str, **fields: Any) -> str:
    """One event as a line of JSON, its time (seconds since 1970) included."""
    return json.dumps({"event": kind, "time": round(time.time(), 3), **fields}, ensure_ascii=False, allow_nan=False)


def decode(line: str | bytes) -> dict[str, Any] | None:
    """The event on a line, or None for anything that is no event of this protocol."""
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
        event = json.loads(text)
    except ValueError:
        return None
    if isinstance(event, dict) and event.get("event") in EVENTS and isinstance(event.get("time"), int | float):
        return event
    return None


def encode_command(kind: str, **fields: Any) -> str:
    """One command as a line of JSON."""
    return json.dumps({"command": kind, **fields}, ensure_ascii=False)


def decode_command(line: str) -> dict[str, Any] | None:
    """The command on a line, or None for anything else."""
    try:
        command = json.loads(line)
    except ValueError:
        return None
    return command if isinstance(command, dict) and command.get("command") in COMMANDS else None


def write_job(folder: Path, task: str, inputs: dict[str, Any], settings: dict[str, Any]) -> None:
    """Write ``job.json``: what to do, with paths relative to the folder or absolute."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JOB_FILE, {"format": VERSION, "task": task, "inputs": inputs, "settings": settings})


def read_job(folder: Path) -> dict[str, Any]:
    """Read ``job.json``; FileError if it is missing, foreign or of another version."""
    path = folder / JOB_FILE
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"{folder} is no job folder: it has no {JOB_FILE}.", "Start a new job.") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}", "Start a new job.") from error
    known = isinstance(job, dict) and job.get("format") == VERSION and isinstance(job.get("task"), str)
    if not known or not isinstance(job.get("inputs"), dict) or not isinstance(job.get("settings"), dict):
        raise FileError(f"{path} is no job of this version.", "Start a new job.")
    return job
