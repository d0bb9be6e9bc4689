"""Files and folders that are no images: models, jobs, lists of planes, descriptions of data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from SparseSegLib.annotation.plane_list import read_plane_list
from SparseSegLib.cli.describe import KEYS
from SparseSegLib.errors import SparseSegError
from SparseSegLib.models import load_card
from SparseSegLib.models.files import is_bundle
from SparseSegLib.protocol import JOB_FILE, read_job

PLANES = ".planes.json"


def other_kind(path: Path) -> dict[str, Any] | None:
    """Return the description of a file or folder that is no image (as of `describe`, and ``what``); None for others."""
    if is_bundle(path):
        return _entry(path, "model", lambda: load_card(path).name)
    if (path / JOB_FILE).is_file():
        return _entry(path, "job", lambda: f"{read_job(path)['task']} job")
    if path.name.lower().endswith(PLANES) and path.is_file():
        return _entry(path, "planes", lambda: _planes(path))
    if path.suffix.lower() == ".json" and path.is_file():
        return _entry(path, "dataset", lambda: _data_set(path))
    return None


def _planes(path: Path) -> str:
    labels = path.with_name(path.name[: -len(PLANES)])
    listed = read_plane_list(labels)
    count = 0 if listed is None else len(listed.planes) + len(listed.oblique)
    return f"{count} annotated slices of {labels.name}"


def _data_set(path: Path) -> str:
    from SparseSegLib.cohort.decathlon import read_description  # brings torch along

    description = read_description(path)
    return f"{description.name or 'without a name'}, {len(description.cases)} annotated volumes"


def _entry(path: Path, kind: str, what: Callable[[], str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": str(path), **dict.fromkeys(KEYS), "kind": kind, "problems": [], "unreadable": 0}
    try:
        entry["what"] = what()
    except SparseSegError as error:
        entry |= {"problems": [str(error)], "unreadable": error.exit_code}
    return entry
