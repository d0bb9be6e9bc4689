"""The command line from end to end on small files: results, exit codes, JSON, help."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob

from SparseSegLib.annotation import UNLABELED, ObliquePlane, SparseLabels, sparsify, write_sparse_labels
from SparseSegLib.cli import COMMANDS, demo, main
from SparseSegLib.files import write_text
from SparseSegLib.image import Geometry
from SparseSegLib.io import default_segment, read_labels, read_volume, write_image, write_labels
from SparseSegLib.resources import sample_data

pytestmark = pytest.mark.usefixtures("workers")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with an image, its dense labels and sparse ones, under a name with blanks and umlauts."""
    folder = tmp_path_factory.mktemp("Äpfel und 日本")
    phantom = blob(GEOMETRIES["oblique"])
    geometry = phantom.volume.geometry
    write_image(phantom.volume.array[0], geometry, folder / "image.nrrd")
    write_labels(phantom.labels, geometry, folder / "truth.nrrd")
    write_sparse_labels(sparsify(phantom.labels, geometry, (2, 2, 2), names=("blob",)), folder / "drawn.seg.nrrd")
    return folder


def _run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_densify_and_evaluate(files, capsys, tmp_path):
    out, doubt = tmp_path / "dense ü.seg.nrrd", tmp_path / "doubt.nii.gz"
    status, text, err = _run(
        capsys, "densify", files / "image.nrrd", "-l", files / "drawn.seg.nrrd", "-o", out, "-u", doubt,
        "--steps", 60, "--device", "cpu", "--json",
    )  # fmt: skip
    assert status == 0, err
    figures = json.loads(text)
    assert figures["steps"] == 60
    _, geometry, segments = read_labels(out)
    assert geometry.matches(GEOMETRIES["oblique"])
    assert [segment.name for segment in segments] == ["blob"]
    assert read_volume(doubt).array.max() <= 1
    status, text, _ = _run(
        capsys, "evaluate", out, files / "truth.nrrd", "--outside", files / "drawn.seg.nrrd", "--json"
    )
    assert status == 0
    assert json.loads(text)["labels"][0]["iou"] > 0.75
    status, text, _ = _run(capsys, "evaluate", out, files / "truth.nrrd")
    assert "HD95 mm" in text


@pytest.mark.parametrize("ending", ["ome.zarr", "tif"])
def test_microscopy_from_end_to_end(capsys, tmp_path, ending):
    if ending == "ome.zarr":
        pytest.importorskip("zarr")
    image, truth, drawn, out, doubt = (
        tmp_path / f"{name}.{ending}" for name in ("image", "truth", "drawn", "out", "doubt")
    )
    phantom = blob(Geometry.identity((20, 32, 40), (2e-3, 1e-3, 1e-3)))
    write_image(phantom.volume.array, phantom.volume.geometry, image)
    write_labels(phantom.labels, phantom.volume.geometry, truth, [replace(default_segment(1), name="blob")])
    assert _run(capsys, "sparsify", truth, "-o", drawn)[0] == 0
    job = [image, "-l", drawn, "-o", out, "-u", doubt, "--steps", 1, "--no-estimate", "--job", tmp_path / "job"]
    for _ in range(2 if ending == "ome.zarr" else 1):  # the second time the job replaces its own results
        status, _, err = _run(capsys, "densify", *job)
        assert status == 0, err
    status, text, err = _run(capsys, "evaluate", out, truth, "--json")
    assert status == 0, err
    assert json.loads(text)["labels"][0]["name"] == ("blob" if ending == "ome.zarr" else "Segment_1")
    status, text, err = _run(capsys, "info", image, out, "--json")
    assert status == 0, err
    found = json.loads(text)
    assert [one["kind"] for one in found] == ["volume", "labels"]
    assert all(one["spacing_mm"] == pytest.approx([1e-3, 1e-3, 2e-3]) for one in found)
    assert read_volume(doubt).array.max() <= 1
    status, _, err = _run(capsys, "densify", *job[:-2])
    assert status == 2 and "--overwrite" in err
    status, _, err = _run(capsys, "densify", *job[:4], image, "--overwrite")
    assert status == 2 and "is read" in err


def test_a_kept_job_goes_on_with_its_weights(files, capsys, tmp_path):
    common = [files / "image.nrrd", "-l", files / "drawn.seg.nrrd", "-o", tmp_path / "a.nrrd", "--job", tmp_path / "j"]
    assert _run(capsys, "densify", *common, "--steps", 5)[0] == 0
    status, _, err = _run(capsys, "densify", *common, "--steps", 6)
    assert status == 0
    assert "weights of the last training" in err


def test_planes_and_sparsify(files, capsys, tmp_path):
    status, text, _ = _run(capsys, "planes", files / "drawn.seg.nrrd", "--json")
    planes = json.loads(text)["planes"]
    assert status == 0
    assert [plane["axis"] for plane in planes] == list("zzyyxx")
    assert planes[0]["segments"] == ["blob"]
    assert _run(capsys, "sparsify", files / "truth.nrrd", "-o", tmp_path / "s.nrrd", "--slices", 1, 2, 3)[0] == 0
    status, text, _ = _run(capsys, "planes", tmp_path / "s.nrrd")
    assert "6 annotated slices" in text
    assert (
        _run(capsys, "sparsify", files / "truth.nrrd", "-o", tmp_path / "e.nrrd", "--every", 4, "--axis", "y")[0] == 0
    )
    assert "coronal" in _run(capsys, "planes", tmp_path / "e.nrrd")[1]


def test_planes_shows_oblique_ones(files, capsys, tmp_path):
    geometry = GEOMETRIES["oblique"]
    center = tuple(geometry.index_to_physical((np.array(geometry.shape) - 1) / 2).tolist())
    pose = ObliquePlane(center, (0.0, 0.6, 0.8))
    labels = np.where(pose.mask(geometry), blob(geometry).labels, UNLABELED).astype(np.uint8)
    write_sparse_labels(SparseLabels(labels, geometry, oblique=(pose,)), tmp_path / "o.nrrd")
    values = json.loads(_run(capsys, "planes", tmp_path / "o.nrrd", "--json")[1])
    assert [plane["normal"] for plane in values["oblique"]] == [[0.0, 0.6, 0.8]]
    assert values["scribble_voxels"] == 0
    assert "1 annotated slices" in _run(capsys, "planes", tmp_path / "o.nrrd")[1]


def test_sparsify_names_classes_by_their_values(files, capsys, tmp_path):
    dense = np.zeros((12, 12, 12), np.uint8)
    dense[2:10, 2:6, 2:10], dense[2:10, 6:10, 2:10] = 2, 4
    segments = [replace(default_segment(2), name="left"), replace(default_segment(4), name="right")]
    write_labels(dense, Geometry.identity(dense.shape), tmp_path / "d.seg.nrrd", segments)
    assert _run(capsys, "sparsify", tmp_path / "d.seg.nrrd", "-o", tmp_path / "s.nrrd", "--slices", 0, 1, 1)[0] == 0
    planes = json.loads(_run(capsys, "planes", tmp_path / "s.nrrd", "--json")[1])
    assert planes["names"] == ["left", "right"]


def test_info_names_device_and_versions(capsys):
    status, text, _ = _run(capsys, "info", "--json")
    values = json.loads(text)
    assert status == 0
    assert values["packages"]["torch"]
    assert "fast" in values["presets"]
    assert values["device"] in _run(capsys, "info")[1]


def _image(folder, name, array):
    path = folder / name
    write_image(array, Geometry.identity(array.shape), path)
    return path


def _bad(kind, files, folder):  # noqa: PLR0911 - one return for each kind of trouble
    """Arguments that must be refused: the volumes, the labels and further options."""
    image, labels = files / "image.nrrd", files / "drawn.seg.nrrd"
    array = read_volume(image).array[0]
    geometry = GEOMETRIES["oblique"]
    if kind == "missing image":
        return [folder / "no.nrrd"], labels, []
    if kind == "truncated image":
        (folder / "cut.nrrd").write_bytes(image.read_bytes()[:4000])
        return [folder / "cut.nrrd"], labels, []
    if kind == "foreign image":
        write_text(folder / "text.nrrd", "no image at all")
        return [folder / "text.nrrd"], labels, []
    if kind == "NaN":
        array[2, 2, 2] = np.nan
        write_image(array, geometry, folder / "nan.nrrd")
        return [folder / "nan.nrrd"], labels, []
    if kind == "constant":
        write_image(np.ones_like(array), geometry, folder / "one.nrrd")
        return [folder / "one.nrrd"], labels, []
    if kind == "no annotation":
        write_labels(np.zeros(geometry.shape, np.uint8), geometry, folder / "empty.nrrd")
        return [image], folder / "empty.nrrd", []
    if kind == "dense annotation":
        return [image], files / "truth.nrrd", []
    if kind == "other grid":
        other = blob(Geometry.identity((20, 32, 40), (1.3, 1, 1)))
        write_sparse_labels(sparsify(other.labels, other.volume.geometry, (1, 1, 1)), folder / "other.nrrd")
        return [image], folder / "other.nrrd", []
    if kind == "unknown preset":
        return [image], labels, ["--preset", "best"]
    if kind == "no budget":
        return [image], labels, ["--seconds", "0"]
    return [image], labels, ["--device", "tpu"]


BAD = {
    "missing image": 3, "truncated image": 3, "foreign image": 3, "NaN": 4, "constant": 4, "no annotation": 5,
    "dense annotation": 5, "other grid": 6, "unknown preset": 2, "no budget": 2, "unknown device": 2,
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_with_an_exit_code_and_changes_nothing(kind, files, capsys, tmp_path):
    volumes, labels, options = _bad(kind, files, tmp_path)
    out = tmp_path / "dense.nrrd"
    out.write_text("precious")
    before = sorted(path.name for path in files.iterdir())
    status, text, err = _run(
        capsys, "densify", *volumes, "-l", labels, "-o", out, "--overwrite", "--steps", 2, *options
    )
    assert status == BAD[kind], err
    assert err.startswith("sparseseg: ")
    assert len(err.splitlines()) >= 2
    assert "Traceback" not in err
    assert text == ""
    assert out.read_text() == "precious"
    assert sorted(path.name for path in files.iterdir()) == before


def test_a_result_that_could_not_be_written_is_refused_before_the_work(files, capsys, tmp_path):
    for out in (tmp_path / "dense.docx", tmp_path / "nowhere" / "dense.nrrd"):
        status, _, err = _run(capsys, "densify", files / "image.nrrd", "-l", files / "drawn.seg.nrrd", "-o", out)
        assert (status, "sparseseg: " in err) == (2, True)


def test_errors_are_json_for_programs(capsys, tmp_path):
    status, text, _ = _run(capsys, "planes", tmp_path / "no.nrrd", "--json")
    assert status == 3
    assert json.loads(text)["error"] == "file"


@pytest.mark.parametrize("command", [command.NAME for command in COMMANDS])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out) > 150


@pytest.fixture
def small_sample(tmp_path_factory, monkeypatch):
    """The demo works on a part of the sample volume, and compares with one other method, to be quick."""
    folder, part = tmp_path_factory.mktemp("sample"), (slice(18, 46), slice(12, 104), slice(16, 98))
    volume = read_volume(sample_data(demo.IMAGE))
    truth, geometry, segments = read_labels(sample_data(demo.TRUTH))
    write_image(volume.array[0][part], volume.geometry.crop(part), folder / demo.IMAGE)
    write_labels(truth[part], geometry.crop(part), folder / demo.TRUTH, segments)
    monkeypatch.setattr(demo, "sample_data", folder.joinpath)
    monkeypatch.setattr(demo, "PEERS", ("Grow from seeds",))


def test_the_demo_writes_everything(capsys, tmp_path, small_sample):
    pytest.importorskip("matplotlib")
    status, text, err = _run(capsys, "demo", "-o", tmp_path, "--seconds", 2, "--json")
    assert status == 0, err
    values = json.loads(text)
    assert values["scores"]["SparseSeg"]["iou"] > 0.6
    assert set(values["scores"]) == {"SparseSeg", "Grow from seeds"}
    names = {path.name for path in tmp_path.iterdir()}
    assert {"annotation.seg.nrrd", "dense.seg.nrrd", "uncertainty.nrrd", "picture.png"} <= names
    assert (tmp_path / "picture.png").stat().st_size > 100_000
    shutil.rmtree(tmp_path)
