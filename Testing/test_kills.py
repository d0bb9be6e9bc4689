"""Workers killed at any moment: what they were doing is resumed to its end, no file is broken, no process is left."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohort_helpers import CARD, SMALL, make_case
from protocol_mutations import new_generator

from SparseSegLib.annotation import write_sparse_labels
from SparseSegLib.io import read_labels, read_volume, write_image
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.models import save_bundle
from SparseSegLib.networks.registry import create_network
from SparseSegLib.training.checkpoint import load_checkpoint

KILLS = 100
LEFT_SECONDS = 15.0
pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


def _densify_job(inputs: Path, folder: Path) -> None:
    settings = {"budget_steps": 12, "device": "cpu", "checkpoint_seconds": 0.0, "preview_seconds": 0.2}
    volumes = {"volumes": [str(inputs / "image-0.nrrd")], "labels": str(inputs / "drawn-0.seg.nrrd")}
    write_job(folder, "densify", volumes, settings)


def _train_job(inputs: Path, folder: Path) -> None:
    cases = [
        {"volumes": [str(inputs / f"image-{seed}.nrrd")], "labels": str(inputs / f"drawn-{seed}.seg.nrrd")}
        for seed in range(2)
    ]
    settings = {
        "network": "unet3d-small", "arguments": SMALL, "budget_steps": 12, "patch": [16, 16, 16], "device": "cpu",
        "batch": 1, "checkpoint_seconds": 0.0,
    }  # fmt: skip
    write_job(folder, "train", {"cases": cases}, settings)


def _segment_job(inputs: Path, folder: Path) -> None:
    cases = [{"volumes": [str(inputs / f"image-{seed % 2}.nrrd")], "name": f"case {seed}"} for seed in range(4)]
    write_job(folder, "segment", {"cases": cases}, {"model": str(inputs / "model"), "device": "cpu", "report": True})


JOBS: dict[str, Callable[[Path, Path], None]] = {
    "densify": _densify_job,
    "train": _train_job,
    "segment": _segment_job,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two annotated volumes and a model that learned nothing."""
    folder = tmp_path_factory.mktemp("inputs")
    for seed in range(2):
        case = make_case(seed)
        write_image(case.volume.array, case.volume.geometry, folder / f"image-{seed}.nrrd")
        write_sparse_labels(case.labels, folder / f"drawn-{seed}.seg.nrrd")
    network = create_network("unet3d-small", 1, 2, **SMALL)
    save_bundle(folder / "model", replace(CARD, arguments=SMALL), network.state_dict())
    return folder


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("kind", ["densify", "segment"])
def test_a_job_that_is_killed_once_is_resumed(kind, inputs, tmp_path):
    _kill_often(kind, 1, inputs, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", JOBS)
def test_jobs_that_are_killed_at_any_moment_are_resumed(kind, inputs, tmp_path):
    _kill_often(kind, -(-KILLS // len(JOBS)), inputs, tmp_path)


def _kill_often(kind: str, count: int, inputs: Path, tmp_path: Path) -> None:
    rng = new_generator()
    JOBS[kind](inputs, tmp_path / "whole")
    start = time.monotonic()
    ending = Job(tmp_path / "whole").start().wait(120)
    assert ending["event"] == "result", ending
    seconds = time.monotonic() - start
    expected = _results(tmp_path / "whole")
    for number in range(count):
        folder = tmp_path / f"job-{number}"
        JOBS[kind](inputs, folder)
        job = Job(folder).start()
        assert job._process is not None
        worker = job._process.pid
        time.sleep(float(rng.uniform(0, seconds)))
        members = _members(worker)
        with suppress(ProcessLookupError):  # it may have been quicker
            os.kill(worker, signal.SIGKILL)
        job.wait(30)
        _check_that_none_is_left(members)
        _check_files(folder)
        ending = Job(folder).start().wait(120)
        assert ending["event"] == "result", ending
        _check_files(folder)
        assert not list(folder.rglob(".*.part*"))
        assert _results(folder) == expected


def _members(leader: int) -> list[int]:
    """The processes of a worker's session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                session = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
            except (OSError, IndexError):
                continue
            if session == leader:
                found.append(int(entry.name))
    return found


def _check_that_none_is_left(processes: list[int]) -> None:
    deadline = time.monotonic() + LEFT_SECONDS
    while living := [process for process in processes if _lives(process)]:
        assert time.monotonic() < deadline, living
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _check_files(folder: Path) -> None:
    """Raise if a file that has its own name is not whole."""
    for path in folder.rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.name.endswith(".seg.nrrd"):
            read_labels(path)
        elif path.suffix == ".nrrd":
            read_volume(path)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.name.startswith("checkpoint"):
            load_checkpoint(path)


def _results(folder: Path) -> dict[str, str]:
    """The voxels or weights of all results, hashed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".seg.nrrd"):
            found[path.name] = hashlib.sha256(np.ascontiguousarray(read_labels(path)[0]).tobytes()).hexdigest()
        elif path.parent.name == "bundle" and path.name.startswith("weights"):
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found
    return found
