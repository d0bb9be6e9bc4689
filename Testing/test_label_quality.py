"""Noisy labels in a cohort: wrong ones weigh less, each case's weight is told, and a resumed training knows it all."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CPU, QUICK, SMALL, Listener

from SparseSegLib.cli import main
from SparseSegLib.cohort import Files, TrainSettings, train
from SparseSegLib.cohort import trainer as trainer_module
from SparseSegLib.cohort.label_quality import SHARE, LabelQuality, LabelWeight, weights_as_csv
from SparseSegLib.control import CancelSource, Control
from SparseSegLib.errors import Canceled, UsageError
from SparseSegLib.models import load_card
from SparseSegLib.protocol import read_job
from SparseSegLib.worker.train_task import train_task

DRAWING = {"base": 8, "blocks": [1, 1], "grid": [2, 2, 2], "latent": 4, "dropout": 0.5}


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch):
    monkeypatch.setattr("SparseSegLib.training.loop.REPORT_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _quality_at_once(monkeypatch):
    monkeypatch.setattr("SparseSegLib.cohort.label_quality.FROM", 0)


def _with_a_wrong_case(dataset):
    """Four cases: of the last one inside and outside are exchanged."""
    first, second = dataset.examples
    wrong = replace(first, name="wrong, all of it", labels=np.where(first.labels == 255, 255, 1 - first.labels))
    more = [replace(example, name=name) for example, name in ((first, "a"), (second, "b"), (second, "c"))]
    return replace(dataset, examples=(*more, replace(wrong, labels=wrong.labels.astype(np.uint8))))


def test_a_case_with_wrong_labels_is_found(dataset, monkeypatch):
    """The quality network learns faster than it should, so that it is trained after some seconds."""
    monkeypatch.setattr("SparseSegLib.cohort.label_quality.SHARE", 1.0)
    learner = trainer_module._make_learner(_with_a_wrong_case(dataset), replace(QUICK, noisy_labels=True, batch=4), CPU)
    for _ in range(20):
        learner.step(1.0)
    weights = learner.label_quality.weights(["a", "b", "c", "wrong"])
    assert weights[0].case == "wrong"
    assert weights[0].mean < 0.8 and weights[1].mean > 1
    assert np.mean([one.mean for one in weights]) == pytest.approx(1)
    assert {one.patches for one in weights} == {20}


def test_the_table_has_the_least_trusted_case_first(dataset, tmp_path):
    settings = replace(QUICK, noisy_labels=True, patch=(8, 8, 8), batch=None, budget_steps=2)
    assert settings.plan.batch == 4
    model = train(_with_a_wrong_case(dataset), settings, files=Files(label_weights=tmp_path / "w.csv"))
    rows = list(csv.DictReader((tmp_path / "w.csv").open(encoding="utf-8")))
    assert [row["case"] for row in rows] == [one.case for one in model.label_weights]
    assert {row["case"] for row in rows} == {"a", "b", "c", "wrong, all of it"}
    assert [float(row["mean_weight"]) for row in rows] == sorted(float(row["mean_weight"]) for row in rows)


def test_patches_of_a_step_come_from_different_cases_and_the_judge_learns_slowly(dataset):
    learner = trainer_module._make_learner(_with_a_wrong_case(dataset), replace(QUICK, noisy_labels=True, batch=4), CPU)
    before = [weight.clone() for weight in learner.label_quality.weighting.parameters()]
    for _ in range(3):
        learner.step(0.5)
        assert sorted(learner.drawn) == [0, 1, 2, 3]
    (group,) = learner.label_quality.optimizer.param_groups
    assert group["lr"] == pytest.approx(SHARE * 0.5 * learner.recipe.learning_rate)
    assert not all(map(torch.equal, before, learner.label_quality.weighting.parameters()))
    few = trainer_module._make_learner(dataset, replace(QUICK, noisy_labels=True, batch=4), CPU)
    few.step(1.0)
    assert sorted(few.drawn) == [0, 0, 1, 1]


def test_the_judge_waits_until_the_network_knows_something(dataset, monkeypatch):
    monkeypatch.setattr("SparseSegLib.cohort.label_quality.FROM", 2)
    learner = trainer_module._make_learner(_with_a_wrong_case(dataset), replace(QUICK, noisy_labels=True, batch=4), CPU)
    before = [weight.clone() for weight in learner.label_quality.weighting.parameters()]
    for step in (1, 2, 3):
        learner.step(1.0)
        same = all(map(torch.equal, before, learner.label_quality.weighting.parameters()))
        assert same == (step < 3)


def test_a_training_that_draws_and_judges_goes_on_to_the_same_weights(dataset, tmp_path):
    """Dropout and the image branch draw numbers of torch's own generator, which no checkpoint keeps."""
    settings = replace(
        QUICK, network="segresnet_vae", arguments=DRAWING, noisy_labels=True, batch=2, budget_steps=6,
        patch=(12, 12, 12), checkpoint_seconds=0.0,
    )  # fmt: skip
    whole = train(dataset, settings)
    torch.rand(7)  # other work draws in between
    source = CancelSource()
    with pytest.raises(Canceled):
        train(dataset, settings, Control(source.token, Listener(3, source.cancel)), tmp_path / "c.pt")
    resumed = train(dataset, settings, checkpoint=tmp_path / "c.pt")
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
    assert resumed.label_weights == whole.label_weights


def test_a_step_leaves_other_peoples_random_numbers_alone_and_no_two_steps_are_alike(dataset):
    settings = replace(QUICK, network="segresnet_vae", arguments=DRAWING, batch=1)
    learner = trainer_module._make_learner(dataset, settings, CPU)
    drawn = []
    learner.network.dropout.register_forward_hook(lambda module, given, out: drawn.append(out[0, :, 0, 0, 0] == 0))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    for _ in range(4):
        learner.step(1.0)
    assert torch.equal(torch.rand(1), expected)
    assert len({tuple(one.tolist()) for one in drawn}) > 1


def test_a_judge_keeps_what_it_knows():
    quality, again = (LabelQuality(1, 2, seed, CPU) for seed in (0, 1))
    samples = [(torch.randn(1, 1, 6, 6, 6), torch.randint(0, 2, (1, 6, 6, 6))) for _ in range(3)]
    quality.learn(samples, lambda image, labels: image.mean().requires_grad_(), [2, 0, 2])
    quality.step(1e-2)
    again.restore(quality.state())
    assert again.weights(["a", "b", "c"]) == quality.weights(["a", "b", "c"])
    assert {one.case: one.patches for one in quality.weights(["a", "b", "c"])} == {"a": 1, "c": 2}
    state = quality.weighting.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.weighting.state_dict().items())


def test_what_cannot_be_weighed_is_refused(dataset):
    with pytest.raises(UsageError, match="comparing patches"):
        TrainSettings(noisy_labels=True, batch=1)
    with pytest.raises(UsageError, match="comparing cases"):
        train(dataset.only([0]), replace(QUICK, noisy_labels=True, batch=2))


def test_the_task_tells_what_labels_weighed_and_folds_have_a_table_each(study, tmp_path):
    cases = [
        {"volumes": [str(study / "images" / f"p{seed}.nii.gz")], "labels": str(study / "labels" / f"p{seed}.seg.nrrd")}
        for seed in (0, 1, 0, 1)
    ]
    settings = {
        "network": "unet3d-small",
        "arguments": SMALL,
        "patch": [8, 8, 8],
        "budget_steps": 1,
        "device": "cpu",
        "noisy_labels": True,
    }
    job = {"task": "train", "inputs": {"cases": cases[:2]}, "settings": settings}
    files, figures = train_task(tmp_path, job, Control())
    assert {row["case"] for row in figures["label_weights"]} == {"p0", "p1"}
    assert (tmp_path / files["label_weights"]).read_text().startswith("case,mean_weight,patches\np")
    names = [{**case, "name": f"{number}"} for number, case in enumerate(cases)]
    job = {"task": "train", "inputs": {"cases": names}, "settings": {**settings, "folds": 2}}
    files, _ = train_task(tmp_path, job, Control())
    assert (tmp_path / files["label_weights-fold-2"]).is_file()


def test_the_command_says_whose_labels_to_look_at(study, tmp_path, monkeypatch, capsys):
    """The job runs in this process, which is quicker; that it runs in its own is tested elsewhere."""

    def finish(job, console):
        files, figures = train_task(job.folder, read_job(job.folder), Control())
        return {"files": files, "figures": figures}

    monkeypatch.setattr("SparseSegLib.cli.train.finish_job", finish)
    command = ["train", "--sparse", str(study), "-o", str(tmp_path / "liver.zip"), "--noisy-labels", "--steps", "1"]
    options = ["--regions", "nested", "--no-mirror", "--modality", "CT", "--normalization", "nonzero"]
    assert main([*command, *options, "--patch", "8", "8", "8", "--device", "cpu"]) == 0
    card = load_card(tmp_path / "liver.zip")
    assert "liver-label-weights.csv: no case's labels have a much lower weight than others" in capsys.readouterr().out
    monkeypatch.setattr("SparseSegLib.cli.train.LIGHT", 9.0)
    assert main([*command, "--patch", "8", "8", "8", "--device", "cpu", "--overwrite"]) == 0
    assert "look at the labels of p" in capsys.readouterr().out
    assert len((tmp_path / "liver-label-weights.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert (card.modality, card.preprocessing.normalization, card.arguments["regions"]) == ("CT", "nonzero", "nested")


def test_names_with_commas_stay_one_column():
    text = weights_as_csv([LabelWeight('Doe, "J"', 0.5, 3)])
    assert list(csv.reader(text.splitlines()))[1] == ['Doe, "J"', "0.5000", "3"]
