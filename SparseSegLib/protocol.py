"""Events and commands of worker and client; the page ``Resources/Documentation/protocol.md`` describes them.

Standard library only: the client imports it inside Slicer.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from SparseSegLib.errors import FileError
from SparseSegLib.files import write_json

VERSION = 1
JOB_FILE = "job.json"
LOG_FILE = "log.txt"
LOCK_FILE = "worker.lock"
READING_FILE = "reading.txt"
"""Contains the path of the file that the worker is reading, so that the client can name one on which it crashed."""
CHECKPOINT_FILE = "checkpoint.pt"

EVENTS = (
    "started",
    "ready",
    "progress",
    "preview",
    "message",
    "heartbeat",
    "round",
    "result",
    "failed",
    "canceled",
)
ENDINGS = ("result", "failed", "canceled")
"""Exactly one of these ends a job."""

COMMANDS = ("update_annotation", "look", "stop", "finish", "cancel")
MOST_PLANES = 3
"""The most slices of a ``look``: those of the usual three views."""

HEARTBEAT_SECONDS = 1.0
SILENCE_SECONDS = 30.0
"""A worker that is silent for so long is reported to the user."""

GRACE_SECONDS = 5.0
"""A worker whose client is gone ends within this time, whatever it does."""

DEEPEST = 50
"""The deepest nesting of what is sent."""

_NUMBER, _NUMBER_OR_NULL = (int, float), (int, float, type(None))
_FIELDS: dict[str, dict[str, Any]] = {
    "started": {"protocol": _NUMBER, "version": str},
    "progress": {"step": _NUMBER, "fraction": _NUMBER, "loss": _NUMBER_OR_NULL, "seconds_left": _NUMBER_OR_NULL},
    "preview": {"file": str, "step": _NUMBER, "seconds": _NUMBER},
    "message": {"text": str},
    "round": {"round": _NUMBER, "files": dict, "figures": dict},
    "result": {"files": dict, "figures": dict},
    "failed": {"code": str, "message": str, "hint": str},
}


def encode(kind: str, **fields: Any) -> str:
    """One event as a line of JSON, its time (seconds since 1970) included.

    An event never gets lost for what is in it: halves of surrogate pairs, as in file names that are not UTF-8, are
    escaped, numbers that are not finite become null, and what JSON lacks becomes text.
    """
    return _as_json({"event": kind, "time": round(time.time(), 3), **fields})


def decode(line: str | bytes) -> dict[str, Any] | None:
    """The event on a line, or None for anything that is no event of this protocol."""
    event = _from_json(line)
    if not isinstance(event, dict) or event.get("event") not in EVENTS or not isinstance(event.get("time"), _NUMBER):
        return None
    expected = _FIELDS.get(event["event"], {})
    return event if all(name in event and isinstance(event[name], kind) for name, kind in expected.items()) else None


def encode_command(kind: str, **fields: Any) -> str:
    """One command as a line of JSON."""
    return _as_json({"command": kind, **fields})


def decode_command(line: str | bytes) -> dict[str, Any] | None:
    """The command on a line, or None for anything else."""
    command = _from_json(line)
    return command if isinstance(command, dict) and command.get("command") in COMMANDS else None


def _as_json(value: dict[str, Any]) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # Python's escape of a surrogate is JSON's


def _plain(value: Any, depth: int = 0) -> Any:
    """The nearest that JSON has to a value."""
    if callable(getattr(value, "item", None)) and getattr(value, "size", 0) == 1:  # a number of NumPy's
        value = value.item()
    plain: Any = "…"
    if value is None or isinstance(value, (bool, int, str)):
        plain = value
    elif isinstance(value, float):
        plain = value if math.isfinite(value) else None
    elif isinstance(value, dict):
        if depth < DEEPEST:
            plain = {str(key): _plain(part, depth + 1) for key, part in value.items()}
    elif isinstance(value, (list, tuple, set, frozenset)):
        if depth < DEEPEST:
            plain = [_plain(part, depth + 1) for part in value]
    else:
        plain = str(value)
    return plain


def _from_json(text: str | bytes) -> Any:
    """The value of a line, or None where it is no JSON or too deeply nested to be ours."""
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError):
        return None


def write_job(folder: Path, task: str, inputs: dict[str, Any], settings: dict[str, Any]) -> None:
    """Write ``job.json``: what to do, with paths relative to the folder or absolute."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JOB_FILE, {"format": VERSION, "task": task, "inputs": inputs, "settings": settings})


def read_job(folder: Path) -> dict[str, Any]:
    """Read ``job.json``; FileError if it is missing, foreign or of another version."""
    path = folder / JOB_FILE
    if not path.is_file():
        raise FileError(f"{folder} is no job folder: it has no {JOB_FILE}.", "Start a new job.")
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise FileError(f"{path} cannot be read: it is nested too deeply.", "Start a new job.") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}", "Start a new job.") from error
    known = isinstance(job, dict) and job.get("format") == VERSION and isinstance(job.get("task"), str)
    if not known or not isinstance(job.get("inputs"), dict) or not isinstance(job.get("settings"), dict):
        raise FileError(f"{path} is no job of this version.", "Start a new job.")
    return job
