"""``sparseseg info FILE…``: what files are, and that the commands do what it says; series of DICOM folders."""

import json
from dataclasses import replace

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob
from test_io_dicom import ARRAY, SHAPE, UID, write_series

from SparseSegLib.annotation import UNLABELED, sparsify, write_sparse_labels
from SparseSegLib.batch import BatchCase, Manifest, named_cases
from SparseSegLib.cli import main
from SparseSegLib.cli.arguments import chosen_series
from SparseSegLib.cli.describe import describe
from SparseSegLib.cohort import CaseFiles
from SparseSegLib.errors import FileError
from SparseSegLib.image import Geometry
from SparseSegLib.io import default_segment, read_volume, write_image, write_labels
from SparseSegLib.io.guess import looks_like_labels
from SparseSegLib.protocol import write_job

GRID = Geometry((4, 5, 6), (2.0, 1.0, 0.5), (10.0, 20.0, 30.0))
NOISE = np.random.default_rng(0).integers(-500, 2000, GRID.shape).astype(np.int16)
KEYS = {"kind", "size", "spacing_mm", "origin_ras_mm", "direction_ras", "channels", "dtype", "range", "problems"}
OTHER = f"{UID}.5"


def _run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def _info(capsys, *arguments):
    status, out, err = _run(capsys, "info", "--json", *arguments)
    assert "Traceback" not in err
    return status, json.loads(out)


def test_a_volume_is_described_in_ras(tmp_path, capsys):
    write_image(NOISE, GRID, tmp_path / "a.nrrd")
    status, (entry,) = _info(capsys, tmp_path / "a.nrrd")
    assert status == 0
    assert entry.keys() == KEYS | {"file"}
    assert (entry["kind"], entry["size"], entry["spacing_mm"]) == ("volume", [6, 5, 4], [0.5, 1.0, 2.0])
    assert entry["origin_ras_mm"] == [-10.0, -20.0, 30.0]
    assert entry["direction_ras"] == [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]
    assert (entry["channels"], entry["dtype"], entry["problems"]) == (1, "int16", [])
    assert entry["range"] == [int(NOISE.min()), int(NOISE.max())]


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_described_grid_is_the_one_that_is_read(name, tmp_path):
    geometry = GEOMETRIES[name]
    write_image(
        np.arange(np.prod(geometry.shape), dtype=np.int32).reshape(geometry.shape), geometry, tmp_path / "a.mha"
    )
    (entry,) = describe(tmp_path / "a.mha")
    corner = np.array(geometry.shape) - 1
    there = np.array(entry["direction_ras"]) @ (np.array(entry["spacing_mm"]) * corner[::-1]) + entry["origin_ras_mm"]
    assert np.allclose(there * (-1, -1, 1), geometry.index_to_physical(corner))


def test_labels_name_their_values_and_annotated_slices(tmp_path, capsys):
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[2, 3:6, 3:6], labels[5, 3:6, 3:6] = 2, 41
    segments = [replace(default_segment(2), name="left"), replace(default_segment(41), name="right")]
    write_labels(labels, Geometry.identity(labels.shape), tmp_path / "a.seg.nrrd", segments)
    status, (entry,) = _info(capsys, tmp_path / "a.seg.nrrd")
    assert (status, entry["kind"], entry["values"]) == (0, "labels", [2, 41])
    assert entry["names"] == ["left", "right"]
    assert [(row["axis"], row["index"], row["orientation"]) for row in entry["annotated_slices"]] == [
        ("z", 2, "axial"),
        ("z", 5, "axial"),
    ]
    text = _run(capsys, "info", tmp_path / "a.seg.nrrd")[1]
    assert "2 left, 41 right" in text
    assert "2 slices: axial z = 2, axial z = 5" in text


def test_plain_images_are_guessed_and_labels_can_be_said(tmp_path):
    phantom = blob(GEOMETRIES["oblique"])
    sparse = sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 1))
    write_sparse_labels(sparse, tmp_path / "sparse.nii.gz")
    write_image(phantom.volume.array[0], phantom.volume.geometry, tmp_path / "image.nrrd")
    (entry,) = describe(tmp_path / "sparse.nii.gz")
    assert (entry["kind"], entry["values"], len(entry["annotated_slices"])) == ("labels", [1], 3)
    (entry,) = describe(tmp_path / "image.nrrd", as_labels=True)
    assert entry["kind"] == "labels"
    assert "not whole numbers" in entry["problems"][0]


def test_what_looks_like_labels():
    grid = np.indices((6, 30, 40))
    many = ((grid[1] // 5) * 8 + grid[2] // 5)[None]
    assert looks_like_labels(many)
    assert looks_like_labels(np.where(many == 0, UNLABELED, 0))
    assert not looks_like_labels(np.random.default_rng(0).integers(0, 255, many.shape))
    assert not looks_like_labels(many.astype(float))
    assert not looks_like_labels(many - 1)
    assert not looks_like_labels(np.ones_like(many))


def test_problems_are_those_of_the_commands_and_one_bad_file_hides_no_other(tmp_path, capsys):
    write_image(np.ones(GRID.shape, np.float32), GRID, tmp_path / "constant.nrrd")
    write_image(np.where(NOISE > 0, np.nan, 1.0), GRID, tmp_path / "nan.nrrd")
    write_image(NOISE, GRID, tmp_path / "good.nrrd")
    write_image(NOISE[:1], Geometry.identity((1, 5, 6)), tmp_path / "flat.nrrd")
    (tmp_path / "cut.nrrd").write_bytes((tmp_path / "good.nrrd").read_bytes()[:-20])
    (tmp_path / "text.txt").write_text("no image")
    names = ("constant.nrrd", "nan.nrrd", "flat.nrrd", "cut.nrrd", "text.txt", "gone.nrrd", "good.nrrd")
    status, entries = _info(capsys, *(tmp_path / name for name in names))
    assert status == 3
    words = ("same value", "not a number", "2D image", "damaged", "text.txt", "There is no file", None)
    for entry, word in zip(entries, words, strict=True):
        assert (word is None and not entry["problems"]) or word in entry["problems"][0]
    assert [entry["kind"] for entry in entries[4:]] == [None, None, "volume"]
    assert entries[3]["size"] == [6, 5, 4]
    status, text, _ = _run(capsys, "info", *(tmp_path / name for name in names))
    assert (status, text.count("\n  problem ")) == (3, 6)


def test_a_fault_in_a_reader_hides_no_other_file_either(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("SparseSegLib.cli.kept.logs_folder", lambda: tmp_path)
    (tmp_path / "study").mkdir()
    for name in "ab":
        write_image(NOISE, GRID, tmp_path / "study" / f"{name}.nrrd")
    monkeypatch.setattr("SparseSegLib.cli.describe.read_any", lambda *arguments, **options: {}["bug"])
    status, entries = _info(capsys, tmp_path / "study", tmp_path / "study" / "a.nrrd")
    assert (status, len(entries)) == (70, 3)
    assert "KeyError" in entries[2]["problems"][0]


def test_what_is_no_image_is_said_too(tmp_path, capsys):
    write_job(tmp_path / "job", "densify", {}, {})
    phantom = blob(GEOMETRIES["oblique"])
    write_sparse_labels(sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 1)), tmp_path / "a.nrrd")
    (tmp_path / "b.zip").write_text("no model")
    (tmp_path / "dataset.json").write_text("{}")
    names = ("job", "a.nrrd.planes.json", "b.zip", "dataset.json")
    status, entries = _info(capsys, *(tmp_path / name for name in names))
    assert [entry["kind"] for entry in entries] == ["job", "planes", "model", "dataset"]
    assert (status, bool(entries[2]["problems"])) == (7, True)


def test_bare_info_takes_no_options_of_files(capsys):
    assert _run(capsys, "info", "-l")[0] == 2


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with two series: the second one's voxels are those of the first, and 1."""
    folder = tmp_path_factory.mktemp("scans")
    grid = Geometry(SHAPE, (2.0, 1.0, 1.0))
    write_series(folder, grid)
    write_series(folder, grid, array=ARRAY + 1, uid=OTHER, description="Bone\x1b[31m")
    return folder


def test_every_series_is_described_and_can_be_chosen(scans, capsys):
    status, entries = _info(capsys, scans)
    assert status == 0
    found = {entry["series"]["uid"]: entry for entry in entries}
    assert found.keys() == {UID, OTHER}
    assert found[UID]["series"] == {"uid": UID, "description": "Thorax", "modality": "CT", "count": len(ARRAY)}
    assert found[OTHER]["range"][0] == found[UID]["range"][0] + 1
    assert not any(entry["problems"] for entry in entries)
    assert [entry["series"]["uid"] for entry in _info(capsys, scans, "--series", OTHER)[1]] == [OTHER]
    assert _info(capsys, scans, "--series", "1.2.3")[0] == 3
    text = _run(capsys, "info", scans)[1]
    assert f"UID {OTHER}" in text
    assert "--series" in text
    assert "\x1b" not in text


def test_the_error_names_the_option(scans, capsys):
    status, _, err = _run(capsys, "planes", scans)
    assert status == 3
    assert "--series" in err
    assert UID in err


def test_series_are_chosen_for_each_folder(scans, tmp_path):
    write_series(tmp_path / "one", Geometry(SHAPE, (2.0, 1.0, 1.0)), uid=f"{UID}.6")
    file = tmp_path / "a.nrrd"
    cases = [[scans, scans], [tmp_path / "one", file]]
    assert chosen_series(cases, []) == [["", ""], ["", ""]]
    assert chosen_series(cases, [OTHER, UID]) == [[OTHER, UID], ["", ""]]
    assert chosen_series([[file, scans]], [UID]) == [["", UID]]
    with pytest.raises(FileError, match=r"1\.2\.3"):
        chosen_series(cases, [UID, "1.2.3"])


def test_a_chosen_series_is_what_is_read(scans, tmp_path):
    both = read_volume([scans, scans], series_uid=[OTHER, UID])
    assert (both.array[0] == both.array[1] + 1).all()
    case = CaseFiles("a", (scans,), tmp_path / "labels.nrrd", series=(OTHER,))
    assert (read_volume(case.volumes, series_uid=case.series).array == both.array[:1]).all()


def test_results_of_another_series_are_not_taken_for_done(tmp_path):
    (plain,) = named_cases([{"volumes": ["scan"]}], tmp_path)
    (chosen,) = named_cases([{"volumes": ["scan"], "series": [UID]}], tmp_path)
    assert chosen == BatchCase("scan", (tmp_path / "scan",), (UID,))
    manifest = Manifest(tmp_path, [])
    manifest.begin([plain])
    assert manifest.begun(plain)
    assert not manifest.begun(chosen)
    again = Manifest(tmp_path, [])
    again.begin([chosen])
    assert Manifest(tmp_path, []).begun(chosen)


@pytest.mark.parametrize(
    "command",
    [
        ["densify", "{scan}", "-l", "l.nrrd", "-o", "o.nrrd"],
        ["train", "--sparse", "{scan},l.nrrd", "-o", "m.zip"],
        ["export", "l.nrrd", "--dicom", "{scan}", "-o", "o.dcm"],
        ["evaluate", "l.nrrd", "{scan}"],
        ["planes", "{scan}"],
        ["sparsify", "{scan}", "-o", "o.nrrd"],
        ["suggest", "{scan}", "--model", "{model}"],
        ["segment", "{scan}", "--model", "{model}", "-o", "out"],
    ],
    ids=lambda command: command[0],
)
def test_all_commands_take_a_series(command, scans, tmp_path, capsys, monkeypatch):
    """A series that is not there is refused by all of them, before anything is done."""
    monkeypatch.chdir(tmp_path)
    write_labels(np.ones(SHAPE, np.uint8), Geometry(SHAPE, (2.0, 1.0, 1.0)), tmp_path / "l.nrrd")
    monkeypatch.setattr("SparseSegLib.models.ModelLibrary.find", lambda library, name: type("E", (), {"path": name}))
    arguments = [part.format(scan=scans, model="m") for part in command]
    status, _, err = _run(capsys, *arguments, "--series", "1.2.3")
    assert status == 3
    assert "1.2.3" in err
    assert UID in err
