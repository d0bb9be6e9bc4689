"""Segment volumes with a model as a job: each case for itself, so that a bad one does not stop the others."""

from __future__ import annotations

import json
import math
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.atomic import write_json
from SparseSegLib.control import Control
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import Canceled, JobError
from SparseSegLib.geometry import Geometry
from SparseSegLib.io import SegmentInfo, read_volume, volume_name, write_labels
from SparseSegLib.models import ModelCard, ModelLibrary, load_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.worker.densify_task import leave_one_core_free
from SparseSegLib.worker.explain import explain

DONE_FILE = "segmented.json"
STOPPED = {"code": "canceled", "error": "Stopped before this case.", "hint": "Run the job again to go on."}


@dataclass(frozen=True)
class _Source:
    """The files of a case and its name, which no other case has."""

    name: str
    volumes: list[Path]

    @property
    def file(self) -> str:
        """The name of its result."""
        return f"{self.name}.seg.nrrd"


def segment_task(folder: Path, job: dict[str, Any], control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Segment each case with one model.

    Inputs: ``cases``, each with ``volumes`` (paths, the channels) and ``name`` (optional). Settings: ``model`` (a name
    of the library, or the path of a bundle), ``device``, ``flips`` (bool). The results are ``NAME.seg.nrrd``; cases
    that an earlier run finished are passed over.
    """
    chosen = dict(job["settings"])
    try:
        model, device = str(chosen.pop("model")), choose_device(str(chosen.pop("device", "auto")))
        flips = bool(chosen.pop("flips", False))
        sources = _sources(folder, job["inputs"]["cases"])
    except (TypeError, KeyError) as error:
        raise JobError(f"The job lacks something that segment needs: {error}.") from error
    if chosen or not sources:
        raise JobError(f"The job asks for something that segment does not know: {', '.join(chosen) or 'no cases'}.")
    leave_one_core_free()
    bundle = folder / model if (folder / model).exists() else ModelLibrary().find(model).path
    card, network = load_network(bundle, device)
    run = _Run(folder, Predictor(card, network, device, flips=flips, events=control.events), control)
    cases = [run.case(source, number / len(sources), 1 / len(sources)) for number, source in enumerate(sources)]
    control.events.progress(len(cases), 1.0, None, 0.0)
    return {case["name"]: case["file"] for case in cases if "file" in case}, {"cases": cases}


class _Run:
    """Segments case after case and remembers which are done."""

    def __init__(self, folder: Path, predictor: Predictor, control: Control) -> None:
        self.folder = folder
        self.predictor = predictor
        self.control = control
        self.finished = 0
        self.done = _read_done(folder / DONE_FILE)

    def case(self, source: _Source, start: float, share: float) -> dict[str, Any]:
        """Segment a case, unless that was done; what to say about it in the result. Raises Canceled alone."""
        token, events = self.control.token, self.control.events
        token.check()
        key = self._key(source)
        if key in self.done and (self.folder / source.file).is_file():
            return self.done[key]
        if token.stopped:
            return {"name": source.name, **STOPPED}

        def progress(fraction: float) -> None:
            events.progress(self.finished, start + share * fraction, None, None)

        progress(0)
        try:
            entry = self._segment(source, progress)
        except Canceled:
            raise
        except Exception as error:
            entry = _failure(source, error)
            events.message(f"{source.name} is left out: {entry['error']} {entry['hint']}".strip())
        else:
            self.done[key] = entry
            write_json(self.folder / DONE_FILE, self.done)
        self.finished += 1
        return entry

    def _segment(self, source: _Source, progress: Callable[[float], None]) -> dict[str, Any]:
        volume = read_volume(source.volumes[0] if len(source.volumes) == 1 else source.volumes)
        labels = self.predictor.segment(volume, self.control.token, progress)
        card = self.predictor.card
        segments = [SegmentInfo(label.value, label.name, label.color) for label in card.labels]
        write_labels(labels, volume.geometry, self.folder / source.file, segments)
        return {"name": source.name, "file": source.file, "volume_ml": _volumes(labels, volume.geometry, card)}

    def _key(self, source: _Source) -> str:
        """Tells a case, its files as they are now, and what is done to it."""
        files = [[str(path), *_stamp(path)] for path in source.volumes]
        return json.dumps([self.predictor.card.sha256, self.predictor.flips, source.name, files])


def _sources(folder: Path, cases: list[dict[str, Any]]) -> list[_Source]:
    """The cases under names that are good for files and all different."""
    sources: list[_Source] = []
    taken: set[str] = set()
    for case in cases:
        volumes = [folder / path for path in case["volumes"]]
        wanted = str(case.get("name") or volume_name(volumes[0]))
        plain = re.sub(r'[\x00-\x1f/\\:*?"<>|]+', "-", wanted).strip(". ")[:100] or "case"
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        sources.append(_Source(name, volumes))
    return sources


def _read_done(path: Path) -> dict[str, dict[str, Any]]:
    try:
        done = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return done if isinstance(done, dict) else {}


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _failure(source: _Source, error: Exception) -> dict[str, Any]:
    traceback.print_exception(error, file=sys.stderr)
    message, hint, code, _ = explain(error)
    return {"name": source.name, "error": message, "hint": hint, "code": code}


def _volumes(labels: np.ndarray, geometry: Geometry, card: ModelCard) -> dict[str, float]:
    """Milliliters of each structure."""
    voxel = math.prod(geometry.spacing) / 1000
    counts = np.bincount(labels.ravel(), minlength=card.classes)
    return {label.name: round(float(counts[label.value]) * voxel, 4) for label in card.labels}
