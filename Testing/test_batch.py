"""Many cases with one model: overlapping steps, interrupted runs, the report, and the same on Dask workers."""

import csv
import os
import sys
import threading
from pathlib import Path

import pytest
from cohort_helpers import CPU, SIZE
from phantoms import blob

from SparseSegLib.batch import BatchCase, Manifest, named_cases, write_report
from SparseSegLib.batch.cluster import connect
from SparseSegLib.batch.contact_sheet import write_contact_sheets
from SparseSegLib.batch.pipeline import segment_here
from SparseSegLib.batch.remote import WorkPlan, segment_on
from SparseSegLib.batch.thumbnails import row_of_slices
from SparseSegLib.cli.segment import cases_of
from SparseSegLib.control import CancelSource, CancelToken, Control
from SparseSegLib.errors import Canceled, DependencyError, UsageError
from SparseSegLib.geometry import Geometry
from SparseSegLib.models import load_network, save_bundle
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


def test_the_report_has_a_row_for_every_case_and_a_column_for_all_that_is_said(tmp_path):
    entries = [
        {"name": "ä", "file": "ä.seg.nrrd", "seconds": 1.5, "voxels": {"liver": 7}, "volume_ml": {"liver": 0.5}},
        {"name": "b", "error": "No image.", "hint": "Look.", "code": "file"},
        {"name": "c", "file": "c.seg.nrrd", "voxels": {"liver": 0}, "volume_ml": {"liver": 0.0}, "doubts": "tiny"},
    ]
    write_report(entries, tmp_path / "report.csv")
    rows = list(csv.DictReader((tmp_path / "report.csv").open(encoding="utf-8-sig")))
    assert [row["case"] for row in rows] == ["ä", "b", "c"]
    assert (rows[0]["liver voxels"], rows[0]["liver ml"], rows[0]["error"]) == ("7", "0.5", "")
    assert (rows[1]["error"], rows[1]["liver ml"]) == ("No image.", "")
    assert rows[2]["doubts"] == "tiny"


def test_a_row_of_slices_shows_the_outline_in_its_color():
    phantom = blob(Geometry.identity(SIZE, (3.0, 1.0, 1.5)))
    picture = row_of_slices(phantom.volume, phantom.labels, {1: (1.0, 0.0, 0.0)})
    red = (picture == (255, 0, 0)).all(-1)
    assert red.any()
    assert red.mean() < 0.1
    assert picture.shape[1] / picture.shape[0] == pytest.approx(6 * 42 / 24, rel=0.05)
    assert not (row_of_slices(phantom.volume, 0 * phantom.labels, {1: (1.0, 0.0, 0.0)}) == (255, 0, 0)).all(-1).any()


def test_contact_sheets_have_pages_and_need_no_picture(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("SparseSegLib.batch.contact_sheet.ROWS", 2)
    failed = [{"name": str(number), "error": "No.", "hint": "", "code": "file"} for number in range(3)]
    assert [path.name for path in write_contact_sheets(failed, tmp_path)] == [
        "contact-sheet-001.png", "contact-sheet-002.png",
    ]  # fmt: skip
    assert [path.name for path in write_contact_sheets(failed[:2], tmp_path)] == ["contact-sheet.png"]
    assert [path.name for path in tmp_path.glob("*.png")] == ["contact-sheet.png"]


def test_only_pages_of_contact_sheets_are_replaced(tmp_path, monkeypatch):
    names = {"contact-sheet.png", "contact-sheet-007.png", "contact-sheet-reviewed.png", "contact-sheet-1.png"}
    for name in names:
        (tmp_path / name).write_text("")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(DependencyError):
            write_contact_sheets([], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names
    pytest.importorskip("matplotlib")
    write_contact_sheets([], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"contact-sheet-reviewed.png", "contact-sheet-1.png"}


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
