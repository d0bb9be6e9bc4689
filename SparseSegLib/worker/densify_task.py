"""Densify as a job: files in, files out."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from SparseSegLib.annotation import read_sparse_labels
from SparseSegLib.control import Control
from SparseSegLib.densify import DensifyResult, DensifySettings, densify
from SparseSegLib.errors import JobError, SparseSegError
from SparseSegLib.geometry import Geometry
from SparseSegLib.io import default_segment, read_volume, write_image, write_labels
from SparseSegLib.protocol import CHECKPOINT_FILE
from SparseSegLib.room import check_room


class _Updates:
    """Turns the annotation files that come in into sparse labels; a bad one is said and passed over."""

    def __init__(self, folder: Path, geometry: Geometry, control: Control, *, resample: bool) -> None:
        self.folder = folder
        self.geometry = geometry
        self.control = control
        self.resample = resample

    def take(self) -> Any:
        """The latest annotation, or None."""
        name = self.control.updates.take()
        if name is None:
            return None
        try:
            labels = read_sparse_labels(self.folder / name, self.geometry, resample_to=self.resample)
            labels.validate()
        except SparseSegError as error:
            self.control.events.message(f"The new annotation is not used: {error}")
            return None
        return labels


def densify_task(folder: Path, job: dict[str, Any], control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Run ``densify`` on the job's files.

    Inputs: ``volumes`` (a list of paths, the channels), ``series`` (UIDs of the DICOM series to read, one for each),
    ``labels`` (a path), ``resample`` (bool), ``outputs`` (paths by ``dense`` and ``uncertainty``, where the client will
    copy the results: there must be room for them). Settings: those of
    ``DensifySettings``, and ``names`` of the results: ``dense`` and ``uncertainty``.
    """
    inputs, chosen = job["inputs"], dict(job["settings"])
    dense_name = str(chosen.pop("dense", "dense.seg.nrrd"))
    uncertainty_name = str(chosen.pop("uncertainty", "uncertainty.nrrd"))
    try:
        settings = DensifySettings(**chosen)
        sources = [_locate(folder, path) for path in inputs["volumes"]]
        drawn = _locate(folder, inputs["labels"])
    except (TypeError, KeyError) as error:
        raise JobError(f"The job asks for something that densify does not know: {error}.") from error
    leave_one_core_free()
    resample = bool(inputs.get("resample", False))
    volume = read_volume(sources[0] if len(sources) == 1 else sources, series_uid=inputs.get("series", ""))
    for name, size in (("dense", 1), ("uncertainty", 4)):
        if name in inputs.get("outputs", {}):
            check_room(inputs["outputs"][name], size * math.prod(volume.geometry.shape))
    labels = read_sparse_labels(drawn, volume.geometry, resample_to=resample)
    updates = _Updates(folder, volume.geometry, control, resample=resample)
    result = densify(
        volume,
        labels,
        settings,
        replace(control, updates=updates),
        checkpoint=folder / CHECKPOINT_FILE,  # type: ignore
    )
    save_result(result, folder / dense_name, folder / uncertainty_name)
    return {"dense": dense_name, "uncertainty": uncertainty_name}, result.figures()


def save_result(result: DensifyResult, dense: Path, uncertainty: Path | None) -> None:
    """Write the dense labels (with the names of the classes) and the uncertainty."""
    segments = [replace(default_segment(value), name=name) for value, name in enumerate(result.names, start=1)]
    segments += [default_segment(value) for value in range(len(segments) + 1, int(result.labels.max()) + 1)]
    write_labels(result.labels, result.geometry, dense, segments)
    if uncertainty is not None and result.uncertainty is not None:
        write_image(result.uncertainty, result.geometry, uncertainty)


def leave_one_core_free() -> None:
    """On a machine with more than two cores leave one to whoever sits before it."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores - 1 if cores > 2 else cores))


def _locate(folder: Path, path: str) -> Path:
    return Path(path) if Path(path).is_absolute() else folder / path
