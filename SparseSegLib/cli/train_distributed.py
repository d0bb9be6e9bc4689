"""``sparseseg train`` under ``torchrun``: distributed training, this process being one of several."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from SparseSegLib.cli.console import Console
from SparseSegLib.control import Control, Events, NullEvents
from SparseSegLib.jobs import write_job


def in_process_group() -> bool:
    """Whether ``torchrun`` started this process as one of several; does not import torch."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def train_distributed(
    folder: Path, inputs: dict[str, Any], settings: dict[str, Any], console: Console
) -> dict[str, Any] | None:
    """Train together with the other processes; in the first one the ``files`` and ``figures``, None in the others.

    The first one alone writes into the job's ``folder`` and shows how far the work is.
    """
    from SparseSegLib.devices import choose_device
    from SparseSegLib.training.distributed import connected
    from SparseSegLib.worker.lock import folder_lock
    from SparseSegLib.worker.train_task import train_task

    with connected(choose_device(str(settings.get("device", "auto")))) as group:
        events: Events = _ConsoleEvents(console) if group.first else NullEvents()
        folder = Path(group.broadcast(str(folder.absolute())))
        if group.first:
            write_job(folder, "train", inputs, settings)
        with folder_lock(folder) if group.first else nullcontext():
            job = {"task": "train", "inputs": inputs, "settings": settings}
            files, figures = train_task(folder, job, Control(events=events))
    return {"files": files, "figures": figures} if group.first else None


class _ConsoleEvents(NullEvents):
    """Shows the events of a computation."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """Show how far it is."""
        self._console.progress(fraction, seconds_left, "" if loss is None else f"loss {loss:.3f}")

    def message(self, text: str) -> None:
        """Show a line."""
        self._console.message(text)
