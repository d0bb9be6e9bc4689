"""Training and segmenting as tasks of the worker and as commands."""

import json
import os

import numpy as np
import pytest
from cohort_helpers import SIZE, SMALL, Listener
from phantoms import blob

from SparseSegLib.cli import main
from SparseSegLib.control import CancelSource, Control
from SparseSegLib.errors import AnnotationError, Canceled
from SparseSegLib.image import Geometry
from SparseSegLib.io import default_segment, read_labels, write_labels
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.models import ModelLabel, load_card
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.worker.segment_task import segment_task
from SparseSegLib.worker.train_task import train_task

pytestmark = pytest.mark.usefixtures("workers")


def _inputs(study, *more):
    cases = [
        {"volumes": [str(study / "images" / f"p{seed}.nii.gz")], "labels": str(study / "labels" / f"p{seed}.seg.nrrd")}
        for seed in range(2)
    ]
    return {"task": "train", "inputs": {"cases": [*cases, *more]}, "settings": _settings()}


def _settings(**more):
    return {
        "network": "unet3d-small",
        "arguments": SMALL,
        "patch": [16, 16, 16],
        "budget_steps": 2,
        "device": "cpu",
        "name": "Blob",
        **more,
    }


def test_the_train_task_makes_a_bundle(study, tmp_path):
    job = _inputs(study)
    job["settings"]["terminologies"] = {"blob": "~SCT^1^Blob~"}
    files, figures = train_task(tmp_path, job, Control())
    card = load_card(tmp_path / files["bundle"])
    assert (card.name, card.preprocessing.spacing, card.window) == ("Blob", (1.0, 1.0, 1.0), (16, 16, 16))
    assert card.labels == (ModelLabel(1, "blob", default_segment(1).color, "~SCT^1^Blob~"),)
    assert figures == dict(card.figures)
    assert (figures["steps"], figures["cases"]) == (2, 2)
    assert figures["loss"] > 0


def test_the_train_task_names_every_bad_case_before_it_begins(study, tmp_path):
    labels = str(study / "labels" / "p0.seg.nrrd")
    job = _inputs(
        study,
        {"volumes": ["missing.nrrd"], "labels": labels},
        {"volumes": [str(study / "images" / "p0.nii.gz")], "labels": "gone.nrrd", "name": "second"},
    )
    events = Listener()
    with pytest.raises(Exception, match=r"missing: .*\nsecond: ") as caught:
        train_task(tmp_path, job, Control(events=events))
    assert caught.value.code == "file"
    assert not any(events.steps)


def test_dense_labels_count_everywhere(study, tmp_path):
    phantom = blob(Geometry.identity(SIZE))
    write_labels(phantom.labels, phantom.volume.geometry, tmp_path / "dense.seg.nrrd")
    case = {"volumes": [str(study / "images" / "p0.nii.gz")], "labels": str(tmp_path / "dense.seg.nrrd")}
    job = _inputs(study)
    job["inputs"]["cases"] = [{**case, "dense": True}]
    job["settings"] = _settings(spacing=[2.0, 2.0, 2.0])
    train_task(tmp_path, job, Control())
    job["inputs"]["cases"] = [case]
    with pytest.raises(AnnotationError, match="dense"):
        train_task(tmp_path, job, Control())


@pytest.fixture
def segment_job(study, bundle, tmp_path):
    """Two good cases of one name and a bad one between them."""
    (tmp_path / "bad.nrrd").write_text("no image")
    cases = [
        {"volumes": [str(study / "images" / "p0.nii.gz")], "name": "a/b"},
        {"volumes": [str(tmp_path / "bad.nrrd")]},
        {"volumes": [str(study / "images" / "p1.nii.gz")], "name": "a/b"},
    ]
    return {"task": "segment", "inputs": {"cases": cases}, "settings": {"model": str(bundle), "device": "cpu"}}


def test_one_bad_case_does_not_stop_the_others_and_what_is_done_is_passed_over(segment_job, tmp_path, monkeypatch):
    folder = tmp_path / "job"
    folder.mkdir()
    events = Listener()
    files, figures = segment_task(folder, segment_job, Control(events=events))
    assert files == {"a-b": "a-b.seg.nrrd", "a-b-2": "a-b-2.seg.nrrd"}
    first, bad, last = figures["cases"]
    assert (bad["name"], bad["code"]) == ("bad", "file")
    assert bad["hint"]
    assert "bad is left out" in events.messages[0]
    assert events.fractions == sorted(events.fractions)
    assert events.fractions[-1] == 1
    array, geometry, segments = read_labels(folder / last["file"])
    assert geometry.matches(Geometry.identity(SIZE))
    assert segments[0].name == "blob"
    assert segments[0].color == (1, 0, 0)
    assert first["volume_ml"] == {"blob": pytest.approx(np.count_nonzero(read_labels(folder / files["a-b"])[0]) / 1000)}
    asked = []
    segment = Predictor.segment
    monkeypatch.setattr(
        Predictor, "segment", lambda self, volume, *rest: asked.append(1) or segment(self, volume, *rest)
    )
    (folder / files["a-b"]).unlink()
    again = segment_task(folder, segment_job, Control())
    first["seconds"] = again[1]["cases"][0]["seconds"]
    assert again == (files, figures)
    assert len(asked) == 1
    assert array.any()


def test_a_canceled_segmentation_goes_on_and_a_stopped_one_says_what_is_missing(segment_job, tmp_path):
    source = CancelSource()
    events = Listener(1, source.cancel)
    with pytest.raises(Canceled):
        segment_task(tmp_path, segment_job, Control(source.token, events))
    entries = [json.loads(line)[1] for line in (tmp_path / "segmented.jsonl").read_text().splitlines()]
    assert [entry["file"] for entry in entries if "file" in entry] == ["a-b.seg.nrrd"]  # the others are begun
    source = CancelSource()
    source.stop()
    _, figures = segment_task(tmp_path, segment_job, Control(source.token))
    assert ["file" in case for case in figures["cases"]] == [True, False, False]
    assert "Stopped" in figures["cases"][2]["error"]


def test_both_tasks_run_in_the_worker(study, tmp_path):
    write_job(tmp_path / "train", "train", _inputs(study)["inputs"], _settings())
    ending = Job(tmp_path / "train").start().wait(60)
    assert ending["event"] == "result", ending
    model = tmp_path / "train" / ending["files"]["bundle"]
    write_job(
        tmp_path / "segment",
        "segment",
        {"cases": [{"volumes": [str(study / "images" / "p0.nii.gz")]}]},
        {"model": os.path.relpath(model, tmp_path / "segment"), "device": "cpu"},
    )
    ending = Job(tmp_path / "segment").start().wait(60)
    assert ending["event"] == "result", ending
    assert (tmp_path / "segment" / ending["files"]["p0"]).is_file()


def test_the_command_line(study, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPARSESEG_MODELS", str(tmp_path / "library"))

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    common = ("--steps", 2, "--patch", 16, 16, 16, "--device", "cpu", "--json")
    status, text, err = run("train", "--sparse", study, "-o", tmp_path / "blob.zip", "--add", *common)
    assert status == 0, err
    assert json.loads(text)["cases"] == 2
    assert "blob" in run("models", "list")[1]
    assert run("train", "--sparse", study, "-o", tmp_path / "blob.zip", "--add", *common)[0] == 2
    results = tmp_path / "results"
    (tmp_path / "bad.nrrd").write_text("no image")
    segment = ("segment", study / "images", tmp_path / "bad.nrrd", "-o", results, "--device", "cpu", "--json")
    status, text, err = run(*segment, "--model", bundle)
    assert status == 3, err
    assert ["file" in case for case in json.loads(text)["cases"]] == [True, True, False]
    assert sorted(path.name for path in results.glob("*.nrrd")) == ["p0.seg.nrrd", "p1.seg.nrrd"]
    assert (results / "report.csv").is_file()
    (results / "segmented.jsonl").unlink()
    assert run(*segment, "--model", bundle)[0] == 2
    assert run("segment", tmp_path / "bad.nrrd", "-o", tmp_path / "x", "--model", "blob")[0] == 3


def test_the_command_line_refuses_what_cannot_be_before_the_work(study, tmp_path, capsys):
    image, labels = study / "images" / "p0.nii.gz", study / "labels" / "p0.seg.nrrd"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    for arguments, status in (
        (["train", "-o", "x"], 2),
        (["train", "--sparse", str(image), "-o", "x"], 2),
        (["train", "--sparse", str(tmp_path), "-o", "x"], 3),
        (["train", "--sparse", f"{image},{labels}", "-o", str(tmp_path / "full")], 2),
        (["train", "--sparse", f"{image},{labels}", "-o", str(tmp_path / "no" / "where")], 2),
        (["segment", str(image), "--model", "nobody", "-o", str(tmp_path / "out")], 7),
    ):
        assert main(arguments) == status, arguments
        assert "sparseseg: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (study / "labels" / "p1.seg.nrrd").rename(study / "labels" / "p7.seg.nrrd")
    assert main(["train", "--sparse", str(study), "-o", str(tmp_path / "b")]) == 3
    assert "p7" in capsys.readouterr().err
