"""``sparseseg densify --watch``: again whenever the annotation is saved."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from phantoms import blob

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.cli.watch import SETTLE_SECONDS, Watch
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_labels, write_image

pytestmark = pytest.mark.usefixtures("workers")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def phantom():
    return blob(Geometry.identity((16, 20, 24)))


@pytest.fixture
def folder(tmp_path, phantom):
    write_image(phantom.volume.array, phantom.volume.geometry, tmp_path / "image.nrrd")
    _draw(tmp_path, phantom, 1)
    return tmp_path


def _draw(folder, phantom, count):
    labels = sparsify(phantom.labels, phantom.volume.geometry, (count, 1, 1))
    write_sparse_labels(labels, folder / "drawn.nrrd")
    return labels


def _watching(folder, *more):
    command = [sys.executable, "-m", "SparseSegLib.cli", "densify", "image.nrrd", "-l", "drawn.nrrd", "-o", "out.nrrd"]
    options = ["--steps", "4", "--device", "cpu", "--experts", "slice-unet,random-walk", "--json", *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, *options], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_changed_annotation_is_learned_and_the_result_replaced(folder, phantom):
    process = _watching(folder, "--watch", "60")
    killer = threading.Timer(90, process.kill)
    killer.start()
    try:
        first = json.loads(process.stdout.readline())
        before = (folder / "out.nrrd").stat().st_mtime_ns
        drawn = _draw(folder, phantom, 3)
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    finally:
        killer.cancel()
        process.kill()
    assert (process.returncode, rest) == (0, ""), errors
    assert (first["round"], second["round"]) == (1, 2)
    assert second["steps"] > first["steps"]
    assert (folder / "out.nrrd").stat().st_mtime_ns > before
    labels = read_labels(folder / "out.nrrd")[0]
    assert (labels[drawn.labeled] == drawn.array[drawn.labeled]).all()
    kept = {"drawn.nrrd", "drawn.nrrd.planes.json", "image.nrrd", "out.nrrd"}
    assert {path.name for path in folder.iterdir()} == kept


def test_a_watch_ends_when_nothing_has_changed_for_long(folder):
    process = _watching(folder, "--watch", "0.2")
    out, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert json.loads(out)["round"] == 1


class FakeJob:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.rounds, self.told = [], []

    def update_annotation(self, file):
        """Note it."""
        self.told.append(file)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""
    now = [100.0]
    monkeypatch.setattr("SparseSegLib.cli.watch.time.monotonic", lambda: now[0])
    return now


def test_a_file_that_is_being_written_is_waited_for(tmp_path, clock):
    path, job = tmp_path / "drawn.seg.nrrd", FakeJob()
    path.write_text("first")
    watch = Watch(path, None)

    def looks(seconds):
        clock[0] += seconds
        watch(job)
        return len(job.told)

    assert looks(10) == 0
    for length in range(3):
        path.write_text("second" * (2 + length))
        assert looks(SETTLE_SECONDS * 0.8) == 0
    assert looks(SETTLE_SECONDS) == 1
    assert looks(10) == 1
    path.unlink()
    assert looks(0.1) + looks(10) == 2
    path.write_text("third, another one")
    assert looks(0.1) == 1
    assert looks(SETTLE_SECONDS) == 2
    assert set(job.told) == {path}


def test_the_list_of_planes_beside_the_labels_is_watched_too(tmp_path, clock):
    path, job = tmp_path / "drawn.seg.nrrd", FakeJob()
    path.write_text("drawn")
    watch = Watch(path, None)
    (tmp_path / "drawn.seg.nrrd.planes.json").write_text("[]")
    watch(job)
    clock[0] += SETTLE_SECONDS
    watch(job)
    assert job.told == [path]


def test_the_results_of_the_last_round_are_taken(tmp_path):
    taken = []

    class Placed:
        """Notes what it takes."""

        take = taken.append

    (tmp_path / "drawn.nrrd").write_text("drawn")
    watch, job = Watch(tmp_path / "drawn.nrrd", Placed), FakeJob()
    watch(job)
    job.rounds += [{"round": 1}, {"round": 2}]
    watch(job)
    watch(job)
    assert taken == [{"round": 2}]
