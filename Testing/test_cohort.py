"""Training over several annotated volumes, on tiny phantoms."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CARD, CPU, QUICK, SIZE, Listener, make_case
from phantoms import GEOMETRIES, blob, multi_class

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.cohort import TrainSettings, make_dataset, make_example, median_spacing, train
from SparseSegLib.cohort import trainer as trainer_module
from SparseSegLib.cohort.settings import suitable_patch
from SparseSegLib.control import CancelSource, Control
from SparseSegLib.errors import AnnotationError, Canceled, GeometryError, UsageError, VolumeError
from SparseSegLib.evaluation import dice
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.models import load_network, save_bundle
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.training.checkpoint import load_checkpoint


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch):
    monkeypatch.setattr("SparseSegLib.training.loop.REPORT_SECONDS", 0.0)


def test_classes_are_matched_by_their_names():
    cases = [
        make_case(0, names=("shell", "core", "rod"), make=multi_class),
        make_case(1, names=("Rod", "shell ", ""), make=multi_class),
    ]
    dataset = make_dataset([make_example(case, (1.0, 1.0, 1.0)) for case in cases], (1.0, 1.0, 1.0))
    assert dataset.names == ("shell", "core", "rod", "Segment_3")
    drawn, found = cases[1].labels.array, dataset.examples[1].labels
    for before, after in ((0, 0), (1, 3), (2, 1), (3, 4), (UNLABELED, UNLABELED)):
        assert (found[drawn == before] == after).all()


@pytest.mark.parametrize("name", ["anisotropic", "flipped", "oblique"])
def test_nothing_unlabeled_becomes_labeled_on_the_working_grid(name):
    case = make_case(0, GEOMETRIES[name])
    spacing = median_spacing([case.volume.geometry])
    example = make_example(case, spacing)
    assert example.image.shape[1:] == example.labels.shape
    assert (example.labels != UNLABELED).sum() == case.labels.labeled.sum()
    assert (example.labels == 1).sum() == (case.labels.array == 1).sum()
    bright = example.image[0][torch.from_numpy(example.labels == 1)].mean()
    assert bright > example.image[0][torch.from_numpy(example.labels == 0)].mean() + 0.5


def test_bad_cases_are_named():
    good = make_case(0)
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


def test_a_v_net_is_trained_saved_and_run_like_any_other_network(dataset, tmp_path):
    settings = replace(QUICK, network="vnet-small", arguments={"base": 8}, budget_steps=40, patch=(16, 24, 24))
    model = train(dataset, settings)
    card = replace(CARD, network="vnet-small", arguments=model.arguments, window=model.window)
    save_bundle(tmp_path / "v", card, model.weights)
    unseen = blob(Geometry.identity(SIZE), seed=9)
    found = Predictor(*load_network(tmp_path / "v"), CPU).segment(unseen.volume)
    assert dice(found == 1, unseen.labels == 1) > 0.8


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


def test_with_other_slices_a_training_starts_from_the_last_weights_and_may_be_interrupted(dataset, tmp_path):
    settings = replace(QUICK, budget_steps=8, checkpoint_seconds=0.0)
    first, second = tmp_path / "first.pt", tmp_path / "second.pt"
    train(dataset, settings, checkpoint=first)
    shutil.copyfile(first, second)
    fewer, events = replace(dataset, examples=dataset.examples[:1]), Listener()
    whole = train(fewer, settings, Control(events=events), first)
    assert "weights of the last training" in events.messages[0]
    assert load_checkpoint(first)["went_on"]
    source = CancelSource()
    with pytest.raises(Canceled):
        train(fewer, settings, Control(source.token, Listener(4, source.cancel)), second)
    resumed = train(fewer, settings, checkpoint=second)
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)


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
