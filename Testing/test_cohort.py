"""Training over several annotated volumes and segmenting with the result, on tiny phantoms."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import GEOMETRIES, blob, multi_class

from SparseSegLib.annotation import UNLABELED, sparsify, write_sparse_labels
from SparseSegLib.cli import main
from SparseSegLib.cohort import Case, TrainSettings, make_dataset, make_example, median_spacing, train
from SparseSegLib.cohort import trainer as trainer_module
from SparseSegLib.cohort.settings import suitable_patch
from SparseSegLib.control import CancelSource, Control, NullEvents
from SparseSegLib.densify.patch_prediction import count_tiles, predict_patches
from SparseSegLib.errors import AnnotationError, Canceled, GeometryError, ModelError, UsageError, VolumeError
from SparseSegLib.evaluation import dice
from SparseSegLib.geometry import Geometry, resample
from SparseSegLib.io import default_segment, read_labels, write_image, write_labels
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing, load_card, load_network, save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.grid import labels_on, oriented, prepare, working_grid
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.volume import Volume
from SparseSegLib.worker.segment_task import segment_task
from SparseSegLib.worker.train_task import train_task

CPU = torch.device("cpu")
SIZE = (20, 24, 28)
SMALL = {"base": 4, "levels": 2}
QUICK = TrainSettings(arguments=SMALL, budget_steps=40, patch=(16, 16, 16), device="cpu", batch=1)
CARD = ModelCard(
    "Blob", "unet3d-small", Preprocessing((1, 1, 1), ("T1",)), (16, 16, 16), (ModelLabel(1, "blob", (1, 0, 0)),)
)


class Listener(NullEvents):
    """Keeps what it hears, and does something at a step."""

    def __init__(self, at=-1, action=lambda: None):
        self.steps, self.fractions, self.losses, self.messages = [], [], [], []
        self.at, self.action = at, action

    def progress(self, step, fraction, loss, seconds_left, **figures):
        """Keep it."""
        self.steps.append(step)
        self.fractions.append(fraction)
        self.losses.append(loss)
        if step >= self.at >= 0:
            self.at = -1
            self.action()

    def message(self, text):
        """Keep the text."""
        self.messages.append(text)


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch):
    monkeypatch.setattr(trainer_module, "REPORT_SECONDS", 0.0)


def _case(seed, geometry=None, names=("blob",), make=blob):
    phantom = make(geometry or Geometry.identity(SIZE), seed=seed)
    return Case(f"case {seed}", phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2), names))


@pytest.fixture(scope="module")
def dataset():
    return make_dataset([make_example(_case(seed), (1.0, 1.0, 1.0)) for seed in range(2)], (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def bundle(dataset, tmp_path_factory):
    """A trained model of a bright blob, at 1 mm."""
    path = tmp_path_factory.mktemp("models") / "Blob ü"
    model = train(dataset, replace(QUICK, budget_steps=100, patch=(20, 24, 24)))
    card = replace(
        CARD, arguments=model.arguments, window=model.window, preprocessing=Preprocessing((1, 1, 1), ("T1",))
    )
    save_bundle(path, card, model.weights)
    return path


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_common_orientation_is_the_same_voxels_in_another_order(name):
    geometry = GEOMETRIES[name]
    grid = oriented(geometry)
    axes = np.asarray(grid.direction).reshape(3, 3)
    assert (np.abs(axes).argmax(0) == [0, 1, 2]).all()
    assert (axes.diagonal() > 0).all()
    array = np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32)
    there = resample(array, geometry, grid)
    np.testing.assert_allclose(np.sort(there.ravel()), np.sort(array.ravel()), atol=1e-4)
    np.testing.assert_allclose(resample(there, grid, geometry), array, atol=1e-4)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_labels_come_back_to_where_they_were(name):
    """There and back through another spacing and orientation, also at the border of the volume."""
    geometry = GEOMETRIES[name]
    labels = multi_class(geometry).labels
    labels[:, :5] = 2
    grid = working_grid(geometry, (1.1, 0.6, 0.7))
    classes = [resample((labels == value).astype(np.float32), geometry, grid) for value in range(4)]
    back = labels_on(torch.from_numpy(np.stack(classes)), grid, geometry)
    assert back.shape == labels.shape
    for value in (1, 2, 3):
        assert dice(back == value, labels == value) > 0.9
    assert (back[:, 0] == 2).mean() > 0.99


def test_slabs_change_nothing(monkeypatch):
    grid, target = GEOMETRIES["identity"], GEOMETRIES["identity"].with_spacing((0.7, 1.3, 1.1))
    probabilities = torch.rand(3, *grid.shape)
    whole = labels_on(probabilities, grid, target)
    monkeypatch.setattr("SparseSegLib.prediction.grid.SLAB_VOXELS", 2000)
    np.testing.assert_array_equal(labels_on(probabilities, grid, target), whole)


def test_a_fine_volume_is_blurred_before_it_is_made_coarser():
    fine = Geometry.identity((16, 64, 64), (1.0, 0.25, 0.25))
    noise = np.random.default_rng(0).normal(size=fine.shape).astype(np.float32)
    edge = noise + 20 * (np.arange(64) > 31)
    image = prepare(Volume(edge, fine), working_grid(fine, (1.0, 1.0, 1.0)))[0]
    plain = resample(edge, fine, working_grid(fine, (1.0, 1.0, 1.0)))
    assert image.shape == (16, 16, 16)
    assert float(image[:, 2:-2, 2:6].std()) < 0.7 * float(plain[:, 2:-2, 2:6].std()) / 11


def test_tiles_are_counted_as_they_are_made():
    for name, patch in (("unet3d-small", (16, 16, 16)), ("cicek2016", (24, 24, 28))):
        network = create_network(name, 1, 2, **{**SMALL, "levels": 2}).eval()
        calls = []
        with torch.no_grad():
            image = torch.rand(1, 9, 25, 30)
            predict_patches(network, image, classes=2, patch=patch, device=CPU, check=lambda: calls.append(1))  # noqa: B023
        assert len(calls) == count_tiles(network, patch, (9, 25, 30))


def test_classes_are_matched_by_their_names():
    cases = [
        _case(0, names=("shell", "core", "rod"), make=multi_class),
        _case(1, names=("Rod", "shell ", ""), make=multi_class),
    ]
    dataset = make_dataset([make_example(case, (1.0, 1.0, 1.0)) for case in cases], (1.0, 1.0, 1.0))
    assert dataset.names == ("shell", "core", "rod", "Segment_3")
    drawn, found = cases[1].labels.array, dataset.examples[1].labels
    for before, after in ((0, 0), (1, 3), (2, 1), (3, 4), (UNLABELED, UNLABELED)):
        assert (found[drawn == before] == after).all()


@pytest.mark.parametrize("name", ["anisotropic", "flipped", "oblique"])
def test_nothing_unlabeled_becomes_labeled_on_the_working_grid(name):
    case = _case(0, GEOMETRIES[name])
    spacing = median_spacing([case.volume.geometry])
    example = make_example(case, spacing)
    assert example.image.shape[1:] == example.labels.shape
    assert (example.labels != UNLABELED).sum() == case.labels.labeled.sum()
    assert (example.labels == 1).sum() == (case.labels.array == 1).sum()
    bright = example.image[0][torch.from_numpy(example.labels == 1)].mean()
    assert bright > example.image[0][torch.from_numpy(example.labels == 0)].mean() + 0.5


def test_bad_cases_are_named():
    good = _case(0)
    nan = good.volume.array.copy()
    nan[0, 1, 1, 1] = np.nan
    empty = replace(good.labels, array=np.full_like(good.labels.array, UNLABELED), planes=())
    moved = replace(good.labels, geometry=Geometry.identity(SIZE, (1, 1, 2)))
    for case, kind in (
        (replace(good, volume=Volume(nan, good.volume.geometry)), VolumeError),
        (replace(good, labels=empty), AnnotationError),
        (replace(good, labels=moved), GeometryError),
    ):
        with pytest.raises(kind, match="case 0: ") as caught:
            make_example(case, (1.0, 1.0, 1.0))
        assert caught.value.hint
    example = make_example(good, (1.0, 1.0, 1.0))
    with pytest.raises(VolumeError, match="other has 2 channels"):
        make_dataset([example, replace(example, name="other", image=example.image.expand(2, -1, -1, -1))], (1, 1, 1))
    with pytest.raises(AnnotationError):
        make_dataset([], (1, 1, 1))


def test_settings_that_cannot_be_are_refused(dataset):
    for wrong in (
        {"budget_seconds": 0}, {"budget_steps": -1}, {"spacing": (1, 0, 1)}, {"patch": (1, 1, 1)}, {"batch": 0},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            TrainSettings(**wrong)
    for wrong in ({"network": "best"}, {"network": "unet2d", "arguments": {}}, {"arguments": {"wings": 2}}):
        with pytest.raises(UsageError):
            train(dataset, replace(QUICK, **wrong))
    with pytest.raises(UsageError, match="cannot take patches"):
        train(dataset, replace(QUICK, network="cicek2016"))


def test_patches_suit_the_volumes():
    assert suitable_patch((35, 51, 35)) == (40, 56, 40)
    z, y, x = suitable_patch((20, 384, 384))
    assert z == 24
    assert y == x
    assert z * y * x <= 48 * 64 * 64


def test_a_training_lowers_the_loss_and_segments_a_volume_it_never_saw(dataset, bundle):
    events = Listener()
    train(dataset, QUICK, Control(events=events))
    assert events.losses[-1] < 0.7 * events.losses[1]
    assert events.steps == sorted(events.steps)
    unseen = blob(Geometry.identity(SIZE), seed=9)
    card, network = load_network(bundle)
    assert dice(Predictor(card, network, CPU).segment(unseen.volume) == 1, unseen.labels == 1) > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_does_not(dataset):
    quick = replace(QUICK, budget_steps=4, batch=2)
    first, second, other = (train(dataset, settings).weights for settings in (quick, quick, replace(quick, seed=1)))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_an_interrupted_training_goes_on_to_the_same_weights(dataset, tmp_path):
    settings = replace(QUICK, budget_steps=14, checkpoint_seconds=0.0)
    whole = train(dataset, settings)
    source = CancelSource()
    with pytest.raises(Canceled):
        train(dataset, settings, Control(source.token, Listener(6, source.cancel)), tmp_path / "c.pt")
    events = Listener()
    resumed = train(dataset, settings, Control(events=events), tmp_path / "c.pt")
    assert "Going on after" in events.messages[0]
    assert events.steps[0] >= 6
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
    assert train(dataset, settings, checkpoint=tmp_path / "c.pt").steps == 14
    assert train(dataset, replace(settings, budget_steps=16), checkpoint=tmp_path / "c.pt").steps == 16
    more = replace(dataset, names=("another",))
    train(more, settings, Control(events=events), tmp_path / "c.pt")
    assert "starting over" in events.messages[-1]


def test_stop_finishes_with_what_there_is(dataset):
    source = CancelSource()
    model = train(dataset, QUICK, Control(source.token, Listener(5, source.stop)))
    assert 5 <= model.steps < 40


def test_a_gpu_short_of_memory_makes_way_for_the_cpu(dataset, monkeypatch):
    make = trainer_module._make_learner

    def learner(data, settings, device):
        made = make(data, settings, CPU)
        if device.type == "cuda":
            monkeypatch.setattr(made, "step", _no_memory)
        return made

    monkeypatch.setattr(trainer_module, "_make_learner", learner)
    monkeypatch.setattr(trainer_module, "choose_device", torch.device)
    events = Listener()
    model = train(dataset, replace(QUICK, device="cuda", budget_steps=2, batch=2), Control(events=events))
    assert model.steps == 2
    assert [text.split(":")[0] for text in events.messages] == [
        "GPU memory is short",
        "The GPU has not enough memory even for one patch",
    ]


def _no_memory(rate):
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("name", ["anisotropic", "flipped", "oblique"])
def test_a_segmentation_lies_where_the_anatomy_is(bundle, name):
    """The model works at 1 mm, and the volume is oblique, flipped or anisotropic."""
    spacing = {"anisotropic": (1.2, 0.8, 0.9), "flipped": (1.3, 0.9, 0.8), "oblique": (1.4, 0.8, 1.0)}[name]
    geometry = replace(GEOMETRIES[name], spacing=spacing)
    phantom = blob(geometry, seed=5)
    fractions = []
    card, network = load_network(bundle)
    found = Predictor(card, network, CPU).segment(phantom.volume, progress=fractions.append)
    assert found.shape == phantom.labels.shape
    assert dice(found == 1, phantom.labels == 1) > 0.85
    centre, truth = (np.argwhere(mask == 1).mean(0) for mask in (found, phantom.labels))
    np.testing.assert_allclose(centre, truth, atol=0.5)
    assert fractions == sorted(fractions)
    assert fractions[0] == 0


def test_mirrored_images_are_averaged_only_where_the_model_knows_them(bundle):
    card, network = load_network(bundle)
    volume = blob(Geometry.identity((12, 12, 12))).volume
    with pytest.raises(ModelError, match="mirrored"):
        Predictor(card, network, CPU, flips=True)
    mirrored = Predictor(replace(card, mirrored=True), network, CPU, flips=True)
    plain = mirrored.segment(volume)
    turned = mirrored.segment(replace(volume, array=volume.array[:, :, ::-1].copy()))
    assert (plain != turned[:, ::-1]).mean() < 0.002


def test_a_volume_that_does_not_fit_the_model_is_refused(bundle):
    card, network = load_network(bundle)
    predictor = Predictor(card, network, CPU)
    volume = blob().volume
    with pytest.raises(ModelError, match="needs 1 channels") as caught:
        predictor.segment(replace(volume, array=np.concatenate([volume.array] * 2)))
    assert caught.value.hint
    with pytest.raises(VolumeError):
        predictor.segment(replace(volume, array=np.zeros_like(volume.array)))


@pytest.fixture
def study(tmp_path):
    """A folder ``images`` and a folder ``labels``, two cases each, under a name with blanks and umlauts."""
    folder = tmp_path / "Studie ü 日本"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for seed in range(2):
        case = _case(seed)
        write_image(case.volume.array, case.volume.geometry, folder / "images" / f"p{seed}.nii.gz")
        write_sparse_labels(case.labels, folder / "labels" / f"p{seed}.seg.nrrd")
    return folder


def _inputs(study, *more):
    cases = [
        {"volumes": [str(study / "images" / f"p{seed}.nii.gz")], "labels": str(study / "labels" / f"p{seed}.seg.nrrd")}
        for seed in range(2)
    ]
    return {"task": "train", "inputs": {"cases": [*cases, *more]}, "settings": _settings()}


def _settings(**more):
    return {"arguments": SMALL, "patch": [16, 16, 16], "budget_steps": 2, "device": "cpu", "name": "Blob", **more}


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
    assert again == (files, figures)
    assert len(asked) == 1
    assert array.any()


def test_a_canceled_segmentation_goes_on_and_a_stopped_one_says_what_is_missing(segment_job, tmp_path):
    source = CancelSource()
    events = Listener(1, source.cancel)
    with pytest.raises(Canceled):
        segment_task(tmp_path, segment_job, Control(source.token, events))
    assert next(iter(json.loads((tmp_path / "segmented.json").read_text()).values()))["file"] == "a-b.seg.nrrd"
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
    assert sorted(path.name for path in results.iterdir()) == ["p0.seg.nrrd", "p1.seg.nrrd"]
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
