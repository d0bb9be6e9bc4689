"""The worker's tasks, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from SparseSegLib.control import Control
from SparseSegLib.errors import JobError

Task = Callable[[Path, dict[str, Any], Control], tuple[dict[str, str], dict[str, Any]]]
"""Takes the job's folder, its content and the control; returns result files (relative to the folder) and figures."""


def find_task(name: str) -> Task:
    """The task of that name; JobError for an unknown one. Tasks are imported when they are needed."""
    if name == "densify":
        from SparseSegLib.worker.densify_task import densify_task

        return densify_task
    if name == "train":
        from SparseSegLib.worker.train_task import train_task

        return train_task
    if name == "segment":
        from SparseSegLib.worker.segment_task import segment_task

        return segment_task
    if name == "selftest":
        from SparseSegLib.worker.selftest_task import selftest_task

        return selftest_task
    raise JobError(f"There is no task called {name}.", "Worker and client may be of different versions.")
