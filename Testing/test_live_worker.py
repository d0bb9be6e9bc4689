"""A worker that stays: rounds, what is on display first, and how it ends."""

import time
from pathlib import Path

import numpy as np
import pytest
from phantoms import blob
from recorded import Recorded

from SparseSegLib.annotation import UNLABELED, sparsify, write_sparse_labels
from SparseSegLib.control import CancelSource, Control, Mailbox
from SparseSegLib.errors import Canceled
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.protocol import decode
from SparseSegLib.training.checkpoint import load_checkpoint
from SparseSegLib.worker.commands import Commands
from SparseSegLib.worker.rounds import IDLE_SECONDS, Rounds

pytestmark = pytest.mark.usefixtures("workers")

QUICK = {"budget_steps": 5, "device": "cpu", "experts": ["slice-unet", "random-walk"]}


@pytest.fixture(scope="module")
def phantom():
    return blob(Geometry.identity((16, 20, 24)))


@pytest.fixture
def folder(tmp_path, phantom):
    write_image(phantom.volume.array, phantom.volume.geometry, tmp_path / "image.nrrd")
    for number in (1, 2, 3):
        labels = sparsify(phantom.labels, phantom.volume.geometry, (number, 1, 1))
        write_sparse_labels(labels, tmp_path / f"drawn-{number}.nrrd")
    (tmp_path / "bad.nrrd").write_text("no image")
    return tmp_path


def _start(folder, stay=60, **more) -> Job:
    write_job(folder, "densify", {"volumes": ["image.nrrd"], **more}, {**QUICK, "stay": stay, "weights": True})
    return Job(folder).start()


def _until(job: Job, done, seconds: float = 60) -> list[dict]:
    """The events until something is so of them; fails where the job ends before."""
    events, deadline = [], time.monotonic() + seconds
    while not done(events):
        events += job.poll()
        assert job.ending is None, job.ending
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return events


def test_a_worker_waits_for_annotation_and_learns_it_in_rounds(folder, phantom):
    with _start(folder) as job:
        _until(job, lambda _: job.ready)
        job.stop()  # means nothing while it waits
        job.look([(0, 8), (2, 12), (1, 99)])  # the last one lies outside the region
        job.update_annotation("bad.nrrd")
        _until(job, lambda events: any("not used" in event.get("text", "") for event in events))
        job.update_annotation("drawn-1.nrrd")
        first = _until(job, lambda _: len(job.rounds) == 1)
        for number in (2, 3):
            job.update_annotation(f"drawn-{number}.nrrd")
            later = _until(job, lambda _, number=number: len(job.rounds) == number)
        job.finish()
        assert job.wait(20)["event"] == "result"
    for events in (first, later):
        shown = [event for event in events if event["event"] == "preview"]
        assert shown[0]["planes"] == [[0, 8], [2, 12]]
        assert "planes" not in shown[1]
    assert later[-1]["figures"]["steps"] == 5 + 3 + 3
    assert [event["round"] for event in job.rounds] == [1, 2, 3]
    assert job.ending["files"] == job.rounds[-1]["files"]
    assert job.ending["figures"] == job.rounds[-1]["figures"]
    kept = sorted(path.name for path in folder.glob("round-*"))
    names = ("dense.seg.nrrd", "uncertainty.nrrd", "weights.pt")
    assert kept == [f"round-000{n}-{name}" for n in (2, 3) for name in names]
    assert load_checkpoint(folder / job.ending["files"]["weights"])["finished"]
    dense = read_labels(folder / job.ending["files"]["dense"])[0]
    drawn = sparsify(phantom.labels, phantom.volume.geometry, (3, 1, 1))
    assert (dense[drawn.labeled] == phantom.labels[drawn.labeled]).all()
    assert (folder / "checkpoint.pt").exists()


def test_a_preview_of_slices_has_these_and_nothing_else(folder, phantom):
    with _start(folder) as job:
        job.look([(0, 8)])
        job.update_annotation("drawn-1.nrrd")
        events = _until(job, lambda events: any("planes" in event for event in events))
        shown = next(event for event in events if "planes" in event)
        labels, geometry, _ = read_labels(folder / shown["file"])
    places = np.unique(np.nonzero(labels != UNLABELED)[0])
    assert len(places) == 1
    at = geometry.index_to_physical(np.array([[places[0], 0, 0]]))[0]
    assert phantom.volume.geometry.physical_to_index(at[None])[0][0] == pytest.approx(8)
    assert 0 < (labels[places[0]] == 1).mean() < 1


def test_stop_ends_a_round_and_not_the_job(folder):
    with _start(folder, labels="drawn-1.nrrd") as job:
        _until(job, lambda _: job.rounds)
        steps = job.rounds[0]["figures"]["steps"]
        job.update_annotation("drawn-2.nrrd")
        job.stop()
        _until(job, lambda _: len(job.rounds) == 2)
        assert steps < job.rounds[1]["figures"]["steps"] <= steps + 3  # a step on the new slice comes first
        job.update_annotation("drawn-3.nrrd")
        _until(job, lambda _: len(job.rounds) == 3)
        assert job.ending is None


def test_a_worker_that_waited_long_enough_ends(folder):
    ending = _start(folder, stay=0.1, labels="drawn-1.nrrd").wait(60)
    assert (ending["event"], ending["files"]["dense"]) == ("result", "round-0001-dense.seg.nrrd")
    assert _start(folder, stay=0.1).wait(60)["event"] == "canceled"


def test_settings_come_with_the_annotation_and_hold_for_the_rounds_after_it(folder):
    with _start(folder, labels="drawn-1.nrrd") as job:
        _until(job, lambda _: job.rounds)
        job.update_annotation("drawn-2.nrrd", {**QUICK, "budget_steps": 20})
        _until(job, lambda _: len(job.rounds) == 2)
        job.update_annotation("drawn-3.nrrd")
        _until(job, lambda _: len(job.rounds) == 3)
        for wrong in ({"budget": 5}, {**QUICK, "seed": "x"}, {**QUICK, "preset": "none"}, {"device": "cuda:99"}):
            job.update_annotation("drawn-1.nrrd", wrong)
            _until(job, lambda events: any("not used" in event.get("text", "") for event in events))
        job.update_annotation("drawn-2.nrrd")
        _until(job, lambda _: len(job.rounds) == 4)
    assert [event["figures"]["steps"] for event in job.rounds] == [5, 5 + 12, 5 + 12 + 12, 5 + 12 + 12 + 12]


@pytest.mark.parametrize("how", ["finish", "cancel"])
def test_a_worker_without_a_round_ends_canceled(folder, how):
    job = _start(folder)
    _until(job, lambda _: job.ready)
    getattr(job, how)()
    assert job.wait(20)["event"] == "canceled"


def test_a_worker_that_dies_while_it_waits_is_seen_and_goes_on_with_its_weights(folder):
    job = _start(folder, labels="drawn-1.nrrd")
    _until(job, lambda _: job.rounds)
    job._process.kill_tree()
    assert job.wait(20)["code"] == "crashed"
    with _start(folder) as job:
        assert not job.rounds
        job.update_annotation("drawn-2.nrrd")
        events = _until(job, lambda _: job.rounds)
    assert any("weights of the last training" in event.get("text", "") for event in events)


@pytest.mark.parametrize("stay", [-1, True, "long", None])
def test_a_stay_that_is_no_time_is_refused(folder, stay):
    assert _start(folder, stay, labels="drawn-1.nrrd").wait(60)["code"] == "job"


def test_without_a_stay_there_must_be_labels(folder):
    assert _start(folder, 0).wait(60)["code"] == "job"


@pytest.mark.parametrize("planes", [None, 5, [[0, 1]] * 4, [[3, 1]], [[0]], [[0, 1.5]], [["z", 1]], [[True, 1]]])
def test_what_are_no_slices_is_not_looked_at(planes):
    commands = Commands(events=None)
    commands.take({"command": "look", "planes": [[1, 7]]})
    commands.take({"command": "look", "planes": planes})
    assert commands.control.looks.content == ((1, 7),)


class FakeDensifier:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.prepared = self.released = 0

    def prepare(self):
        """Count it."""
        self.prepared += 1

    def release(self):
        """Count it."""
        self.released += 1


class FakeBell:
    """Turns the clock instead of waiting; a command comes at the second time, after 10 s."""

    def __init__(self, clock, commands) -> None:
        self.clock, self.commands, self.waits = clock, commands, []

    def clear(self):
        """Nothing to clear."""

    def wait(self, seconds):
        """Note how long."""
        self.waits.append(seconds)
        heard = len(self.waits) == 2
        self.clock[0] += 10 if heard else seconds
        if heard:
            self.commands()
        return heard


def test_a_worker_that_waits_looks_at_nothing_and_gives_its_memory_back_once(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("SparseSegLib.worker.rounds.time.monotonic", lambda: clock[0])
    source, densifier = CancelSource(), FakeDensifier()
    bell = FakeBell(clock, source.stop)
    control = Control(source.token, bell=bell)
    with pytest.raises(Canceled):  # there was no round
        Rounds(tmp_path, densifier, control, Mailbox(), {}, 3600.0).run(None)
    assert bell.waits == [IDLE_SECONDS, 3600 - IDLE_SECONDS, 3600]
    assert (densifier.prepared, densifier.released) == (1, 1)
    assert not source.token.stopped


def test_a_recorded_session_of_rounds_is_understood(tmp_path):
    session = Path(__file__).parent / "Data" / "sessions" / "result-none-in-rounds.jsonl"
    job = Job(tmp_path, launch=lambda *_: Recorded(session.read_bytes(), 0)).start()
    assert not job.ready
    events = []
    assert job.wait(5, events.append)["files"] == job.rounds[-1]["files"]
    assert job.ready
    assert [event["round"] for event in job.rounds] == [1, 2]
    assert [event["planes"] for event in events if "planes" in event] == [[[0, 8]], [[0, 8]]]
    assert decode('{"event": "round", "time": 1, "files": {}, "figures": {}}') is None
