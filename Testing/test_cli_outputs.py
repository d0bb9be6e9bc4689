"""What is known before the work: results that are read, are there or cannot be written; numbers that are none."""

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.cli import main
from SparseSegLib.cli.outputs import check_outputs, is_same, note_outputs
from SparseSegLib.cli.work_folder import work_folder
from SparseSegLib.cli.working import error_of, finish_job
from SparseSegLib.errors import FileError, InternalError, ResourceError, UsageError
from SparseSegLib.files.disk_space import check_disk_space
from SparseSegLib.io import write_image, write_labels


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    phantom = blob(GEOMETRIES["oblique"])
    geometry = phantom.volume.geometry
    write_image(phantom.volume.array[0], geometry, folder / "image.nrrd")
    write_labels(phantom.labels, geometry, folder / "truth.nrrd")
    write_sparse_labels(sparsify(phantom.labels, geometry, (1, 1, 1), names=("blob",)), folder / "drawn.seg.nrrd")
    return folder


@pytest.fixture
def files(originals, tmp_path, monkeypatch):
    """A folder of one's own with the files, which is the current one."""
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _never(*arguments, **options):
    raise AssertionError("the work began")


DENSIFY = ["densify", "image.nrrd", "-l", "drawn.seg.nrrd", "--overwrite"]
INPUTS = [
    [*DENSIFY, "-o", "drawn.seg.nrrd"],
    [*DENSIFY, "-o", "image.nrrd"],
    [*DENSIFY, "-o", "./../{here}/image.nrrd"],
    [*DENSIFY, "-o", "link.nrrd"],
    [*DENSIFY, "-o", "hard.nrrd"],
    [*DENSIFY, "-o", "a.nrrd", "-u", "a.nrrd"],
    [*DENSIFY, "-o", "a.nrrd", "-u", "A.nrrd"],
    [*DENSIFY, "-o", "a.nrrd", "-u", "image.nrrd"],
    ["sparsify", "truth.nrrd", "-o", "truth.nrrd", "--overwrite"],
    ["export", "truth.nrrd", "--dicom", "scan", "-o", "scan/1.dcm", "--overwrite"],
    ["train", "--sparse", "image.nrrd,drawn.seg.nrrd", "-o", "model.zip", "--start", "model.zip", "--overwrite"],
]


@pytest.mark.parametrize("command", INPUTS, ids=lambda command: " ".join(command)[:40] + command[-1])
def test_a_result_that_is_an_input_is_refused_before_anything_is_read(command, files, capsys, monkeypatch):
    (files / "link.nrrd").symlink_to(files / "image.nrrd")
    os.link(files / "image.nrrd", files / "hard.nrrd")
    (files / "scan").mkdir()
    (files / "scan" / "1.dcm").write_text("a slice")
    (files / "model.zip").write_text("a model")
    for name in ("densify.write_job", "train.write_job", "sparsify.read_labels", "export.export_dicom"):
        monkeypatch.setattr(f"SparseSegLib.cli.{name}", _never)
    model = namedtuple("Entry", "path")(files / "model.zip")
    monkeypatch.setattr("SparseSegLib.cli.train.ModelLibrary.find", lambda library, name: model)
    before = {path.name: path.stat().st_mtime_ns for path in files.iterdir()}
    assert main([part.format(here=files.name) for part in command]) == 2
    err = capsys.readouterr().err
    assert any(words in err for words in ("is read", "are read", "one file"))
    assert {path.name: path.stat().st_mtime_ns for path in files.iterdir()} == before


def test_an_existing_result_is_refused_alike_by_all_commands(files, capsys):
    for name in ("there.nrrd", "there.dcm", "there.zip"):
        (files / name).write_text("precious")
    (files / "results").mkdir()
    (files / "results" / "scores.csv").write_text("precious")
    for command in (
        ["densify", "image.nrrd", "-l", "drawn.seg.nrrd", "-o", "there.nrrd"],
        ["densify", "image.nrrd", "-l", "drawn.seg.nrrd", "-o", "new.nrrd", "-u", "there.nrrd"],
        ["sparsify", "truth.nrrd", "-o", "there.nrrd"],
        ["export", "truth.nrrd", "--dicom", "results", "-o", "there.dcm"],
        ["train", "--sparse", "image.nrrd,drawn.seg.nrrd", "-o", "there.zip"],
        ["evaluate", ".", ".", "-o", "results"],
    ):
        assert main(command) == 2, command
        err = capsys.readouterr().err
        assert "is there already" in err
        assert "--overwrite" in err
    assert (files / "there.nrrd").read_text() == "precious"


def test_what_a_job_made_it_may_replace_and_nothing_else(tmp_path):
    job, result = tmp_path / "job", tmp_path / "dense.nrrd"
    job.mkdir()
    result.write_text("first")
    with pytest.raises(UsageError):
        check_outputs([result], job=job)
    note_outputs(job, [result])
    check_outputs([result], job=job)
    with pytest.raises(UsageError):
        check_outputs([result], job=tmp_path / "another job")
    result.write_text("changed by hand")
    with pytest.raises(UsageError):
        check_outputs([result], job=job)
    (job / "outputs.json").write_text("[" * 100_000)
    with pytest.raises(UsageError):
        check_outputs([result], job=job)


@pytest.mark.parametrize(
    "name", ["x" * 260 + ".nrrd", "肝" * 90 + ".nrrd", "a.docx", "a", "nowhere/a.nrrd", "f/a.nrrd", "d.nrrd"]
)
def test_names_and_folders_that_cannot_be_are_refused_before_the_work(name, files, capsys):
    (files / "f").write_text("a file")
    (files / "d.nrrd").mkdir()
    assert main(["densify", "image.nrrd", "-l", "drawn.seg.nrrd", "-o", name]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(files, monkeypatch, capsys):
    def touch(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.touch", touch)
    assert main(["densify", "image.nrrd", "-l", "drawn.seg.nrrd", "-o", "a.nrrd"]) == 3
    assert "Permission denied" in capsys.readouterr().err


def test_a_folder_of_labels_cannot_be_watched(files, capsys):
    (files / "drawn").mkdir()
    assert main(["densify", "image.nrrd", "-l", "drawn", "-o", "a.nrrd", "--watch"]) == UsageError.exit_code
    assert "labels in one file" in capsys.readouterr().err


def test_a_folder_of_zarr_is_a_result_like_a_file(tmp_path):
    image = tmp_path / "a.zarr"
    (image / "labels" / "drawn").mkdir(parents=True)
    (image / "zarr.json").write_text("{}")
    check_outputs([image], overwrite=True)
    with pytest.raises(UsageError, match="--overwrite"):
        check_outputs([image])
    for source in (image, image / "labels" / "drawn"):
        with pytest.raises(UsageError, match="is read"):
            check_outputs([image], [source], overwrite=True)
    (image / "zarr.json").unlink()
    with pytest.raises(UsageError, match="is a folder"):
        check_outputs([image], overwrite=True)


def test_a_disk_without_room_is_told(tmp_path, monkeypatch):
    check_disk_space(tmp_path / "a.nrrd", 1)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: namedtuple("Usage", "free")(1000))
    with pytest.raises(ResourceError, match="2 KiB"):
        check_disk_space(tmp_path / "a.nrrd", 2048)


def test_one_file_under_two_names(tmp_path):
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")
    assert is_same(tmp_path / "a", tmp_path / "b")
    assert is_same(tmp_path / "new", tmp_path / "." / "new")
    assert not is_same(tmp_path / "a", tmp_path / "new")


@pytest.mark.parametrize(
    "options",
    [
        ["--seconds", "nan"], ["--seconds", "inf"], ["--seconds", "-1"], ["--seconds", "0"], ["--seconds", "soon"],
        ["--steps", "0"], ["--steps", "1e9"], ["--margin", "nan"], ["--margin", "-0.1"], ["--seed", "-1"],
        ["--seed", str(10**30)], ["--job", "image.nrrd"], ["--nonsense"], ["--coarser", "0.5"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_arguments_that_cannot_be_are_wrong_usage(options, files, capsys):
    command = ["densify", "image.nrrd", "-l", "drawn.seg.nrrd", "-o", "a.nrrd"]
    assert main([*command, *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("sparseseg: ")
    assert len(err.splitlines()) == 2
    assert main([*command, *options, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"] == "usage"


class _Job:
    """A job that says nothing, and then fails."""

    seconds_since_last_event = 40.0

    def __init__(self, folder, ending):
        self.folder, self._ending, self.ending, self._polls = folder, ending, None, 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def poll(self):
        self._polls += 1
        self.ending = self._ending if self._polls > 3 else None
        return []


class _Console:
    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)

    def clear(self):
        pass


def test_a_silent_worker_is_mentioned_once(tmp_path):
    console = _Console()
    finish_job(_Job(tmp_path, {"event": "result"}), console)
    assert len(console.said) == 1
    assert "30 s" in console.said[0]


def test_the_log_of_an_unexpected_error_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("SparseSegLib.cli.kept.logs_folder", lambda: tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ending = {"event": "failed", "code": "internal", "message": "Oh.", "hint": "The log file has the details."}
    with pytest.raises(InternalError) as caught, work_folder(None) as work:
        (work.path / "log.txt").write_text("where it came from")
        finish_job(_Job(work.path, ending), _Console())
    assert not work.path.exists()
    path = caught.value.hint.removeprefix("The details are in ").removesuffix("; please report them.")
    assert Path(path).read_text() == "where it came from"
    assert caught.value.exit_code == 70
    assert error_of({"code": "unheard of", "message": "x", "hint": ""}).exit_code == 10


def test_a_result_that_cannot_be_placed_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(FileError) as caught, work_folder(None) as work:
        (work.path / "dense.nrrd").write_text("an hour of work")
        work.keep = True
        raise FileError("Cannot write a.nrrd: no.", "Choose another folder.")
    assert (work.path / "dense.nrrd").is_file()
    assert str(work.path) in caught.value.hint
    with pytest.raises(KeyError), work_folder(None) as work:
        raise KeyError
    assert not work.path.exists()


def test_a_bug_is_told_in_words_and_its_traceback_kept(files, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("SparseSegLib.cli.kept.logs_folder", lambda: tmp_path)
    monkeypatch.setattr("SparseSegLib.cli.planes.read_sparse_labels", lambda *arguments, **options: {}["bug"])
    assert main(["planes", "drawn.seg.nrrd"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" not in err
    path = err.split("The details are in ")[1].split(";")[0]
    assert "KeyError: 'bug'" in Path(path).read_text()
    assert main(["planes", "drawn.seg.nrrd", "--json"]) == 70
    assert json.loads(capsys.readouterr().out)["error"] == "internal"


def test_labels_that_hold_nothing_are_refused_before_the_training(files, capsys):
    write_labels(np.zeros(GEOMETRIES["oblique"].shape, np.uint8), GEOMETRIES["oblique"], files / "none.seg.nrrd")
    command = ["densify", "image.nrrd", "-l", "none.seg.nrrd", "-o", "a.nrrd", "--steps", str(10**6)]
    assert main([*command, "--device", "cpu"]) == 5
