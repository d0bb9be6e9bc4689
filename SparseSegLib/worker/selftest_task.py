"""A task that computes nothing, to test the worker process without torch, in tests and in Slicer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from SparseSegLib.control import Control
from SparseSegLib.errors import VolumeError
from SparseSegLib.files import noting, write_json


def selftest_task(folder: Path, job: dict[str, Any], control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Count steps, and do on the way what the settings ask for.

    Settings: ``steps``, ``seconds_per_step``, ``preview_every``, ``print_at`` (a line of noise on stdout), ``crash_at``
    (exit without a word, while it reads ``reading``, if that is given), ``fail_at`` (a user error), ``raise_at`` (a
    bug), ``ignore_cancel``, ``child_seconds`` (start a child process that lives so long).
    """
    settings = job["settings"]
    state = folder / "count.json"
    done = int(state.read_text()) if state.exists() else 0
    first, updates = done, []
    if "child_seconds" in settings:
        code = f"import time; time.sleep({float(settings['child_seconds'])})"
        child = subprocess.Popen([sys.executable, "-c", code])
        control.events.message(f"child {child.pid}")
    while done < int(settings.get("steps", 10)) and not control.token.stopped:
        if not settings.get("ignore_cancel"):
            control.token.check()
        time.sleep(float(settings.get("seconds_per_step", 0.01)))
        done += 1
        _act(settings, done)
        if (update := control.updates.take()) is not None:
            updates.append(update.file)
        write_json(state, done)  # first: a step that was reported is never lost
        control.events.progress(done, done / int(settings.get("steps", 10)), None, None)
        if settings.get("preview_every") and done % int(settings["preview_every"]) == 0:
            control.events.preview(SimpleNamespace(labels=str(done), steps=done, seconds=0.0))
    write_json(folder / "result.json", done)
    return {"result": "result.json"}, {"steps": done, "started_at": first, "updates": updates}


def _act(settings: dict[str, Any], step: int) -> None:
    if step == settings.get("print_at"):
        os.write(1, b'{"event": "result", "time": 1}\nnoise')
        print("more noise")
    if step == settings.get("crash_at"):
        with noting(settings["reading"]) if "reading" in settings else nullcontext():
            os._exit(3)
    if step == settings.get("fail_at"):
        raise VolumeError("The image is no good.", "Take another one.")
    if step == settings.get("raise_at"):
        raise ValueError("a bug")
