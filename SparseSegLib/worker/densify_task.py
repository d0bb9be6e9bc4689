"""Densify as a job: files in, files out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from SparseSegLib.annotation import read_sparse_labels
from SparseSegLib.batch.cluster import connect
from SparseSegLib.control import Control, Mailbox
from SparseSegLib.densify import Densifier, DensifySettings
from SparseSegLib.densify.hands import Lend, own_hands
from SparseSegLib.densify.on_cluster import hands_of
from SparseSegLib.errors import JobError
from SparseSegLib.files import path_inside
from SparseSegLib.files.disk_space import check_disk_space
from SparseSegLib.image import Geometry
from SparseSegLib.io import open_volume
from SparseSegLib.io.files import check_writable
from SparseSegLib.protocol import CHECKPOINT_FILE, JOB_FILE, LOCK_FILE, LOG_FILE
from SparseSegLib.worker.commands import Update
from SparseSegLib.worker.densify_results import save_result
from SparseSegLib.worker.explain import explain
from SparseSegLib.worker.job_settings import is_path, make_settings, path_list, switch
from SparseSegLib.worker.rounds import Rounds

WEIGHTS_FILE = "weights.pt"
OWN_FILES = (CHECKPOINT_FILE, JOB_FILE, LOCK_FILE, LOG_FILE, WEIGHTS_FILE)


class _Updates:
    """Turns the annotation files that come in into sparse labels; a bad one is reported and ignored.

    Attributes
    ----------
    settings : has those that came with annotation, for the next round
    """

    def __init__(self, folder: Path, geometry: Geometry, control: Control, *, resample: bool) -> None:
        self.folder = folder
        self.geometry = geometry
        self.control = control
        self.resample = resample
        self.settings = Mailbox()

    def take(self) -> Any:
        """The latest annotation, or None."""
        update: Update | None = self.control.updates.take()
        if update is None:
            return None
        name = update.file
        try:
            settings = None if update.settings is None else make_settings(DensifySettings, update.settings)
            path = Path(name) if Path(name).is_absolute() else path_inside(self.folder, name)
            if not path.is_file():
                raise JobError(f"There is no file {path}.")
            labels = read_sparse_labels(path, self.geometry, resample_to=self.resample)
            labels.validate()
        except Exception as error:  # whatever is wrong with it, the training does not end for it
            self.control.events.message(f"The new annotation is not used: {explain(error)[0]}")
            return None
        if settings is not None:
            self.settings.put(settings)
        return labels


def densify_task(folder: Path, job: dict[str, Any], control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Run ``densify`` on the job's files.

    Inputs: ``volumes`` (a list of paths, the channels), ``series`` (UIDs of the DICOM series to read, one for each),
    ``labels`` (a path), ``resample`` (bool), ``outputs`` (paths by ``dense`` and ``uncertainty``, where the client will
    copy the results: there must be room for them). Settings: those of
    ``DensifySettings``, names of the results, ``dense`` and ``uncertainty``, ``weights`` (whether a checkpoint to start
    from elsewhere is a result, too), ``cluster``, where to predict a large region, and ``stay``: seconds to wait for
    further annotation after each round. With it ``labels`` may come later, too.
    """
    inputs, chosen = job["inputs"], dict(job["settings"])
    dense_name, uncertainty_name = chosen.pop("dense", "dense.seg.nrrd"), chosen.pop("uncertainty", "uncertainty.nrrd")
    dense, uncertainty = path_inside(folder, dense_name), path_inside(folder, uncertainty_name)
    cluster = chosen.pop("cluster", "")
    if not isinstance(cluster, str):
        raise JobError("The job's cluster must be a text.", "Start a new job.")
    keep_weights = switch(chosen.pop("weights", False), "weights")
    stay = _seconds(chosen.pop("stay", 0))
    settings = make_settings(DensifySettings, chosen)
    sources = [folder / path for path in path_list(inputs.get("volumes"), "volumes")]
    drawn = _labels_path(folder, inputs, needed=not stay)
    resample = switch(inputs.get("resample", False), "resample")
    outputs = inputs.get("outputs", {})
    if not isinstance(outputs, dict):
        raise JobError("The job's outputs are no paths by name.", "Start a new job.")
    _check_results([dense, uncertainty], [*sources, *([drawn] if drawn else [])], folder)
    leave_one_core_free()
    volume = open_volume(sources[0] if len(sources) == 1 else sources, series_uid=inputs.get("series", ""))
    for path, wanted, size in ((dense, outputs.get("dense"), 1), (uncertainty, outputs.get("uncertainty"), 4)):
        target = Path(str(wanted)) if is_path(wanted) else path
        check_writable(target, volume.geometry)
        check_disk_space(target, size * math.prod(volume.geometry.shape))
    labels = read_sparse_labels(drawn, volume.geometry, resample_to=resample) if drawn else None
    updates = _Updates(folder, volume.geometry, control, resample=resample)
    own = replace(control, updates=updates)
    names = {"dense": dense_name, "uncertainty": uncertainty_name}
    if keep_weights:
        names["weights"] = WEIGHTS_FILE
    with _hands(cluster, folder) as lend:
        densifier = Densifier(volume, settings, own, folder / CHECKPOINT_FILE, lend)
        if stay:
            return Rounds(folder, densifier, own, updates.settings, names, stay).run(labels)
        assert labels is not None
        result = densifier.learn(labels)
    save_result(result, dense, uncertainty)
    if keep_weights:
        densifier.save_weights(folder / WEIGHTS_FILE)
    return names, result.figures()


@contextmanager
def _hands(cluster: str, folder: Path) -> Iterator[Lend]:
    """The hands that predict a large region: workers of a cluster, or without one this process's own."""
    if not cluster:
        yield own_hands
        return
    with connect(cluster) as connected:
        yield hands_of(connected, folder)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise JobError(f"The setting stay must be a number of seconds, not {value!r}.", "0 is usual.")
    return float(value)


def _labels_path(folder: Path, inputs: dict[str, Any], *, needed: bool) -> Path | None:
    labels = inputs.get("labels")
    if labels is None and not needed:
        return None
    if not is_path(labels):
        raise JobError("The job names no labels.", "Give the annotation of the volume.")
    return folder / str(labels)


def _check_results(results: list[Path], inputs: list[Path], folder: Path) -> None:
    """Raise UsageError or JobError if a result cannot be written under its name, or would replace something else."""
    taken = {path.resolve() for path in inputs} | {(folder / name).resolve() for name in OWN_FILES}
    for path in results:
        check_writable(path)
        if path.resolve() in taken:
            raise JobError(f"The result {path} would replace another file of the job.", "Give it another name.")
        taken.add(path.resolve())


def leave_one_core_free() -> None:
    """On a machine with more than two cores leave one to the user."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores - 1 if cores > 2 else cores))
