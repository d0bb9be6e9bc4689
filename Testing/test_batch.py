"""Many cases with one model: overlapping steps, interrupted runs, and the same on Dask workers."""

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from cohort_helpers import CPU, Listener
from test_reading import TRICKS

from SparseSegLib.batch import BatchCase, Manifest, named_cases
from SparseSegLib.batch.cluster import Cluster, connect
from SparseSegLib.batch.finding import cases_of
from SparseSegLib.batch.manifest import is_of
from SparseSegLib.batch.pipeline import segment_here
from SparseSegLib.batch.remote import WorkPlan, segment_on
from SparseSegLib.batch.work import CaseWork
from SparseSegLib.control import CancelSource, CancelToken, Control
from SparseSegLib.errors import Canceled, DependencyError, JobError, UsageError
from SparseSegLib.io import read_labels, read_volume
from SparseSegLib.models import load_network, save_bundle
from SparseSegLib.worker.lock import folder_lock
from SparseSegLib.worker.segment_task import segment_task


class _Steps:
    """Three steps that wait for each other as they can only where they overlap."""

    def __init__(self):
        self.read_ahead, self.wrote = threading.Event(), threading.Event()
        self.written = []

    def read(self, case):
        if case == "second":
            self.read_ahead.set()
        return case

    def compute(self, case, token, progress):
        token.check()
        if case == "first":
            assert self.read_ahead.wait(20)
        elif case == "third":
            assert self.wrote.wait(20)
            raise ValueError("no good")
        return case

    def write(self, case):
        self.written.append(case)
        if case == "second":
            self.wrote.set()
        return {"name": case}

    def abandon(self):
        pass


def test_while_a_case_is_computed_the_next_is_read_and_the_last_one_written():
    outcomes = list(segment_here(_Steps(), ["first", "second", "third"], CancelToken(), lambda done: None))
    assert outcomes[:2] == [("first", {"name": "first"}), ("second", {"name": "second"})]
    assert isinstance(outcomes[2][1], ValueError)


def test_what_was_being_written_is_not_lost_when_a_run_is_canceled():
    source, steps, seen = CancelSource(), _Steps(), []
    with pytest.raises(Canceled):
        for case, _ in segment_here(
            steps, ["first", "second"], source.token, lambda done: source.cancel() if done else None
        ):
            seen.append(case)
    assert seen == steps.written == ["first"]


def test_a_manifest_tells_models_settings_and_files_apart(tmp_path):
    case = BatchCase("a", (tmp_path / "a.nrrd",))
    case.volumes[0].write_text("image")
    Manifest(tmp_path, ["model", False]).add(case, {"name": "a"})
    assert Manifest(tmp_path, ["model", False]).find(case) is None  # the result is not there
    (tmp_path / case.file).write_text("result")
    with open(tmp_path / "segmented.jsonl", "a") as file:
        file.write('["half a li')
    assert Manifest(tmp_path, ["model", False]).find(case) == {"name": "a"}
    assert Manifest(tmp_path, ["other", False]).find(case) is None
    Manifest(tmp_path, ["other", False]).add(case, {"name": "b"})
    assert Manifest(tmp_path, ["other", False]).find(case) == {"name": "b"}
    case.volumes[0].write_text("another image")
    assert Manifest(tmp_path, ["model", False]).find(case) is None


def test_the_last_model_on_a_result_is_the_only_one_that_vouches_for_it(tmp_path):
    case, other = (BatchCase("a", (tmp_path / folder / "a.nrrd",)) for folder in ("one", "two"))
    (tmp_path / case.file).write_text("result")
    for model, which in (("A", case), ("B", case), ("A", other)):
        Manifest(tmp_path, [model]).add(which, {"name": model})
        assert Manifest(tmp_path, [model]).find(which) == {"name": model}
    assert Manifest(tmp_path, ["A"]).find(case) is None
    assert Manifest(tmp_path, ["B"]).find(case) is None
    Manifest(tmp_path, ["B"]).begin([case])
    assert Manifest(tmp_path, ["A"]).find(other) is None  # it may be half replaced
    assert Manifest(tmp_path, ["B"]).find(case) is None
    assert Manifest(tmp_path, ["B"]).begun(case)
    assert not Manifest(tmp_path, ["A"]).begun(other)
    lines = (tmp_path / "segmented.jsonl").read_text()
    Manifest(tmp_path, ["B"]).begin([case])
    assert (tmp_path / "segmented.jsonl").read_text() == lines


def _content(folder, *files):
    """Make files, DICOM by their mark where the name has no suffix; what is taken of the folder, and what is told."""
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if path.suffix else b"\0" * 128 + b"DICM")
    told = []
    found = [Path(case["volumes"][0]).relative_to(folder).as_posix() for case in cases_of(str(folder), told.append)]
    return found, " ".join(told)


def test_a_folder_is_taken_apart_into_volumes_and_dicom_folders(tmp_path):
    found, told = _content(tmp_path / "a", "p1/1", "p2/1", "Thumbs.db", "DICOMDIR")
    assert found == ["p1", "p2"]
    assert "DICOMDIR, Thumbs.db" in told
    found, told = _content(tmp_path / "b", "p1/1.dcm", "p2.nii.gz", "p2.seg.nrrd", "results/p1.seg.nrrd", ".hidden")
    assert found == ["p1", "p2.nii.gz"]
    assert told.endswith(": results.")
    assert _content(tmp_path / "c", "1", "2", "notes.txt") == (["."], "")
    found, told = _content(tmp_path / "d", "1", "2", "more/1")
    assert found == ["."]
    assert told.endswith(": more.")
    image = ["a.ome.zarr/.zgroup", "a.ome.zarr/0/.zarray", "a.ome.zarr/0/0/0/0"]
    assert _content(tmp_path / "f", *image, "b.nrrd") == (["a.ome.zarr", "b.nrrd"], "")
    assert _content(tmp_path / "f" / "a.ome.zarr") == (["."], "")
    assert _content(tmp_path / "e", "p1/no.txt", "p2/no.txt") == (["p1", "p2"], "")


def _job(study, bundle, output, **more):
    cases = [{"volumes": [str(study / "images" / f"p{seed}.nii.gz")]} for seed in range(2)]
    settings = {"model": str(bundle), "device": "cpu", "output": str(output), "keep": True, **more}
    return {"task": "segment", "inputs": {"cases": cases}, "settings": settings}


def test_results_go_to_their_folder_and_another_ones_are_not_replaced(study, bundle, tmp_path):
    output = tmp_path / "out"
    job = _job(study, bundle, output, report=True)
    _, figures = segment_task(tmp_path, job, Control())
    assert {path.name for path in output.iterdir()} >= {"p0.seg.nrrd", "p1.seg.nrrd", "report.csv", "pictures"}
    made = (output / "p0.seg.nrrd").stat().st_mtime_ns
    (output / "p1.seg.nrrd").unlink()
    _, again = segment_task(tmp_path, job, Control())
    assert [case["file"] for case in again["cases"]] == [case["file"] for case in figures["cases"]]
    assert (output / "p0.seg.nrrd").stat().st_mtime_ns == made
    (output / "segmented.jsonl").unlink()
    with pytest.raises(UsageError, match="is there already"):
        segment_task(tmp_path, job, Control())


def test_results_are_in_the_format_that_is_asked_for(study, bundle, tmp_path):
    pytest.importorskip("zarr")
    job = _job(study, bundle, tmp_path / "out", ending=".ome.zarr")
    job["inputs"]["cases"] = job["inputs"]["cases"][:1]
    found = segment_task(tmp_path, job, Control())[1]["cases"]
    labels, geometry, segments = read_labels(tmp_path / "out" / "p0.ome.zarr")
    volume = read_volume(study / "images" / "p0.nii.gz")
    assert geometry.matches(volume.geometry) and [segment.name for segment in segments] == [*found[0]["voxels"]]
    assert [int((labels == segment.value).sum()) for segment in segments] == [*found[0]["voxels"].values()]
    assert segment_task(tmp_path, job, Control())[1]["cases"] == found  # it is there
    with pytest.raises(UsageError, match="unknown format"):
        segment_task(tmp_path, {**job, "settings": {**job["settings"], "ending": ".vtk"}}, Control())


def test_another_model_in_between_is_noticed_and_a_killed_run_goes_on(study, bundle, tmp_path, monkeypatch):
    output, other = tmp_path / "out", tmp_path / "other"
    card, network = load_network(bundle)
    save_bundle(other, card, {name: 0.5 * tensor for name, tensor in network.state_dict().items()})

    def run(model, **more):
        job = _job(study, model, output, **more)
        return segment_task(tmp_path, {**job, "inputs": {"cases": job["inputs"]["cases"][:1]}}, Control())[1]["cases"]

    first = run(bundle)
    replaced = run(other, keep=False)
    assert replaced[0]["voxels"] != first[0]["voxels"]
    with pytest.raises(UsageError, match="is there already"):
        run(bundle)
    assert run(other) == replaced
    (output / "p0.seg.nrrd").unlink()
    with monkeypatch.context() as killed:
        killed.setattr(Manifest, "add", _die)
        with pytest.raises(KeyboardInterrupt):
            run(other)
    assert (output / "p0.seg.nrrd").exists()
    assert run(other)[0]["voxels"] == replaced[0]["voxels"]


def _die(*_):
    raise KeyboardInterrupt


def test_where_to_compute_must_be_an_address():
    for wrong in ("local:0", "local", "http://x", "here"):
        with pytest.raises(UsageError, match="no cluster"), connect(wrong):
            pass


def test_as_many_processes_are_started_as_were_asked_for():
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    with connect("local:1") as cluster:
        assert len(cluster.client.nthreads()) == 1


def _dies_once(number, folder):
    mark = Path(folder) / str(number)
    if not mark.exists():
        mark.write_text("")
        if number == 1:
            os._exit(1)
    if number == 3:
        raise ValueError("no good")
    return 10 * number


def test_two_processes_give_the_same_bits_and_what_a_dead_one_did_is_done_again(study, bundle, tmp_path):
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    cases = named_cases(_job(study, bundle, tmp_path)["inputs"]["cases"], tmp_path)
    for name in ("here", "there", "marks"):
        (tmp_path / name).mkdir()
    here = WorkPlan(bundle, tmp_path / "here", "cpu")
    expected = dict(segment_here(here.begin(), cases, CancelToken(), lambda done: None))
    with connect("local:2") as cluster:
        there = WorkPlan(bundle, tmp_path / "there", str(CPU))
        found = dict(segment_on(cluster, there, cases, CancelToken(), lambda done: None))
        results = dict(cluster.run(_dies_once, range(4), str(tmp_path / "marks")))
    for case in cases:
        assert found[case]["voxels"] == expected[case]["voxels"]
        assert (tmp_path / "here" / case.file).read_bytes() == (tmp_path / "there" / case.file).read_bytes()
    assert [results[number] for number in range(3)] == [0, 10, 20]
    assert isinstance(results[3], ValueError)


def test_cases_that_name_no_volumes_are_refused(tmp_path):
    for wrong in ({}, {"volumes": []}, {"volumes": "a.nrrd"}, {"volumes": [5]}, 5):
        with pytest.raises(JobError, match="names no volumes"):
            named_cases([wrong], tmp_path)
    names = [case.name for case in named_cases([{"volumes": ["a\udcff.nrrd"]}, {"volumes": ["CON.nrrd"]}], tmp_path)]
    assert names == ["a-", "_CON"]


def test_what_a_manifest_says_is_believed_only_of_its_own_cases(tmp_path):
    case = BatchCase("a", (tmp_path / "a.nrrd",))
    amounts = {"voxels": {"liver": 7}, "volume_ml": {"liver": 0.5}}
    right = {"name": "a", "file": case.file, "seconds": 1.0, **amounts}
    assert is_of(right, case)
    for wrong in (
        {"file": "../../x"}, {"name": "b"}, {"seconds": "1"}, {"voxels": [7]}, {"volume_ml": {"liver": "=1"}},
        {"doubts": 5}, {"seconds": float("nan")},
    ):  # fmt: skip
        assert not is_of({**right, **wrong}, case)


def test_a_manifest_takes_lines_of_any_kind(tmp_path):
    case = BatchCase("a", (tmp_path / "a\0b.nrrd",))
    lines = ["[" * 100_000, "null", '["x", {}]', '["[[]]", {}]', "9" * 10_000, '["[1, [2]]", 5]']
    (tmp_path / "segmented.jsonl").write_text("\n".join(lines))
    manifest = Manifest(tmp_path, ["model"])
    assert manifest.find(case) is None
    manifest.add(case, {"name": "a", "voxels": {"\ud800": 1}})
    assert Manifest(tmp_path, ["model"]).begun(case)


def test_a_manifest_counts_the_runs_that_died_of_a_case(tmp_path):
    case = BatchCase("a", (tmp_path / "a.nrrd",))
    for tries in range(3):
        manifest = Manifest(tmp_path, ["model"])
        assert manifest.tries(case) == tries
        manifest.begin([case])
        manifest.trying(case)
        assert manifest.find(case) is None
    case.volumes[0].write_text("another image")
    assert Manifest(tmp_path, ["model"]).tries(case) == 0
    Manifest(tmp_path, ["model"]).survived(case)
    assert Manifest(tmp_path, ["model"]).tries(case) == 0


@pytest.fixture
def tricky(monkeypatch):
    monkeypatch.setattr("SparseSegLib.reading.reader.COMMAND", [sys.executable, "-c", TRICKS])


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_file_that_ends_its_reader_fails_alone_and_is_named(study, bundle, tmp_path, tricky):
    job = _job(study, bundle, tmp_path / "out", report=True)
    cases = [{"volumes": [str(study / f"{name}.nrrd")]} for name in ("crash", "bug")]
    job["inputs"]["cases"] = [cases[0], *job["inputs"]["cases"], cases[1]]
    told = Listener()
    _, figures = segment_task(tmp_path, job, Control(events=told))
    assert ["error" in case for case in figures["cases"]] == [True, False, False, True]
    assert "crash.nrrd cannot be read" in figures["cases"][0]["error"]
    assert any(text.startswith("crash is left out") for text in told.messages)
    assert not list((tmp_path / "out").rglob("*.part*"))


def test_a_case_that_ended_two_runs_is_left_out_until_it_is_asked_for(study, bundle, tmp_path, monkeypatch):
    output = tmp_path / "out"
    job = _job(study, bundle, output)
    for _ in range(2):
        with monkeypatch.context() as dying:
            dying.setattr(CaseWork, "compute", _die)
            dying.setattr(Manifest, "survived", lambda *_: None)  # a process that died says nothing
            with pytest.raises(KeyboardInterrupt):
                segment_task(tmp_path, job, Control())
    cases = segment_task(tmp_path, job, Control())[1]["cases"]
    assert "2 runs ended" in cases[0]["error"]
    assert "--overwrite" in cases[0]["hint"]
    assert "file" in cases[1]
    again = {**job, "settings": {**job["settings"], "keep": False}}
    assert all("file" in case for case in segment_task(tmp_path, again, Control())[1]["cases"])


def test_a_canceled_run_does_not_count_as_one_that_died(study, bundle, tmp_path):
    output = tmp_path / "out"
    job = _job(study, bundle, output)
    source = CancelSource()
    listener = Listener(at=0, action=source.cancel)
    with pytest.raises(Canceled):
        segment_task(tmp_path, job, Control(source.token, listener))
    assert '"trying": 1' in (output / "segmented.jsonl").read_text()
    assert (output / "segmented.jsonl").read_text().rstrip().endswith("{}]")


def test_a_read_that_hangs_does_not_hold_up_cancel(study, bundle, tmp_path, tricky):
    job = _job(study, bundle, tmp_path / "out")
    job["inputs"]["cases"] = [{"volumes": [str(study / "hang.nrrd")]}]
    source = CancelSource()
    threading.Timer(1.5, source.cancel).start()
    told = Listener()
    with pytest.raises(Canceled):
        segment_task(tmp_path, job, Control(source.token, told))
    assert told.messages == []  # nobody waited until the read was given up


def test_two_runs_do_not_write_into_one_folder(study, bundle, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    with folder_lock(output, ".sparseseg.lock"), pytest.raises(JobError, match="Another worker"):
        segment_task(tmp_path, _job(study, bundle, output), Control())


def test_a_disk_that_is_full_at_the_end_does_not_fail_what_is_done(study, bundle, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("SparseSegLib.worker.segment_task.write_contact_sheets", full)
    monkeypatch.setattr("SparseSegLib.worker.segment_task.write_report", full)
    told = Listener()
    _, figures = segment_task(tmp_path, _job(study, bundle, tmp_path / "out", report=True), Control(events=told))
    assert all("file" in case for case in figures["cases"])
    assert (figures["report"], figures["contact_sheets"]) == ("", [])
    assert sum("The disk is full." in text for text in told.messages) == 2


@pytest.mark.parametrize("settings", [{"keep": "yes"}, {"model": 5}, {"output": ["x"]}, {"cluster": 1}, {"tempo": 1}])
def test_what_a_job_asks_for_is_checked(study, bundle, tmp_path, settings):
    job = _job(study, bundle, tmp_path / "out")
    with pytest.raises(JobError):
        segment_task(tmp_path, {**job, "settings": {**job["settings"], **settings}}, Control())


def test_local_processes_need_what_keeps_others_out(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("SparseSegLib.batch.cluster.find_spec", lambda name: None if name == "cryptography" else name)
    with pytest.raises(DependencyError, match="cryptography"), connect("local:1"):
        pass


class _Client:
    """A connection to a scheduler without workers, or to none."""

    status = "running"
    loop = None

    def __init__(self, status="running"):
        self.status = status
        self.scheduler = SimpleNamespace(ncores=None)
        self.canceled = 0

    def sync(self, *_, **__):
        return {}

    def submit(self, *_, **__):
        return SimpleNamespace(key="a", add_done_callback=lambda call: None)

    def cancel(self, futures, force):
        self.canceled += len(futures)


@pytest.mark.parametrize("status", ["running", "connecting"])
def test_a_cluster_without_workers_is_told_in_time(status, monkeypatch):
    monkeypatch.setattr("SparseSegLib.batch.cluster.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("SparseSegLib.batch.cluster.GONE_SECONDS", 0.3)
    client = _Client(status)
    with pytest.raises(JobError, match="All workers of the cluster are gone"):
        list(Cluster(client).run(_dies_once, [1]))
    assert client.canceled == 1
