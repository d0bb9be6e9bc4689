"""Cross-validation, validation volumes and the log, through the task that the worker runs."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CARD, CPU, QUICK, SMALL, Listener, make_case
from phantoms import blob

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.cohort import Files, FoldScores, make_dataset, make_example, scores_as_json, split_folds, train
from SparseSegLib.cohort.scoring import score_case
from SparseSegLib.cohort.validation import Validation, mean_dice
from SparseSegLib.control import CancelSource, Control
from SparseSegLib.errors import AnnotationError, Canceled, DependencyError, UsageError
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.models import ModelLabel, load_network
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.training.log import TrainingLog
from SparseSegLib.worker.train_task import train_task

SETTINGS = {
    "network": "unet3d-small",
    "arguments": SMALL,
    "patch": [16, 16, 16],
    "budget_steps": 3,
    "device": "cpu",
    "name": "Blob",
}


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch):
    monkeypatch.setattr("SparseSegLib.training.loop.REPORT_SECONDS", 0.0)


@pytest.fixture
def job(tmp_path):
    """Four cases, the first sparsely annotated, the others densely."""
    cases = []
    for seed in range(4):
        case = make_case(seed)
        image, labels = tmp_path / f"p{seed}.nrrd", tmp_path / f"p{seed}-labels.nrrd"
        write_image(case.volume.array, case.volume.geometry, image)
        dense = blob(case.volume.geometry, seed=seed).labels if seed else case.labels.array
        write_labels(dense, case.volume.geometry, labels)
        cases.append({"volumes": [str(image)], "labels": str(labels), "dense": bool(seed), "names": ["blob"]})
    return {"task": "train", "inputs": {"cases": cases}, "settings": dict(SETTINGS)}


def test_every_fold_is_scored_by_a_model_that_did_not_see_it(job, tmp_path):
    job["settings"] |= {"folds": 2, "spacing": [1.0, 1.0, 1.0]}
    files, figures = train_task(tmp_path, job, Control())
    assert (figures["trained"], figures["cases"]) == ([1, 2], 4)
    rows = list(csv.DictReader((tmp_path / files["table"]).open()))
    left_out = split_folds([f"p{number}" for number in range(4)], 2)
    assert [(int(row["fold"]), row["case"]) for row in rows] == [
        (fold, f"p{number}") for fold, numbers in enumerate(left_out, start=1) for number in numbers
    ]
    dices = json.loads((tmp_path / files["scores"]).read_text())["dice"]["blob"]
    assert dices["mean"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]), abs=1e-4)
    (row,) = [row for row in rows if row["case"] == "p0"]
    predictor = Predictor(*load_network(tmp_path / f"fold-{row['fold']}"), CPU)
    (score,) = score_case(predictor, make_case(0), ("blob",))
    assert score.dice == pytest.approx(float(row["dice"]), abs=1e-4)
    assert row["hausdorff"] == ""  # it is annotated sparsely: no surface is known
    assert predictor.card.figures["cases"] == 2
    assert all(float(row["reference_volume"]) > 0 for row in rows if row["case"] != "p0")
    assert (tmp_path / "log" / "fold-1" / "training.csv").is_file()


def test_one_fold_alone_is_the_same_fold(job, tmp_path):
    job["settings"] |= {"folds": 4, "fold": 3, "spacing": [1.0, 1.0, 1.0]}
    files, figures = train_task(tmp_path, job, Control())
    (number,) = split_folds([f"p{number}" for number in range(4)], 4)[2]
    assert figures["trained"] == [3]
    assert f",p{number},blob," in (tmp_path / files["table"]).read_text().splitlines()[1]
    job["settings"]["fold"] = 5
    with pytest.raises(UsageError, match="no fold 5"):
        train_task(tmp_path, job, Control())


def test_folds_on_a_cluster_are_the_same_folds(job, tmp_path):
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    job["settings"] |= {"folds": 2, "spacing": [1.0, 1.0, 1.0]}
    scores = []
    for name, more in (("here", {}), ("there", {"cluster": "local:2"})):
        folder = tmp_path / name
        folder.mkdir()
        files, figures = train_task(folder, {**job, "settings": {**job["settings"], **more}}, Control())
        assert figures["trained"] == [1, 2]
        assert all((folder / files[f"fold-{fold}"] / "model.json").is_file() for fold in (1, 2))
        scores.append([row["dice"] for row in csv.DictReader((folder / files["table"]).open())])
    np.testing.assert_allclose(np.array(scores[1], float), np.array(scores[0], float), atol=0.02)
    job["settings"] |= {"cluster": "local:2"}
    job["settings"].pop("folds")
    with pytest.raises(UsageError, match="trains folds"):
        train_task(tmp_path, job, Control())


def test_validation_volumes_are_not_learned_from_and_choose_the_weights(job, tmp_path):
    job["settings"] |= {"held_out": 2, "validations": 3, "log": str(tmp_path / "l"), "spacing": [1.0, 1.0, 1.0]}
    _, figures = train_task(tmp_path, job, Control())
    assert figures["cases"] == 2
    rows = list(csv.DictReader((tmp_path / "l" / "training.csv").open()))
    assert [int(row["step"]) for row in rows] == [1, 2, 3]
    scores = [float(row["validation_dice"]) for row in rows]
    assert figures["validation_dice"] == pytest.approx(max(scores), abs=1e-4)
    assert scores[figures["best_step"] - 1] == pytest.approx(max(scores), abs=1e-4)
    job["settings"].pop("held_out")
    job["inputs"]["validation"] = [job["inputs"]["cases"].pop()]
    assert train_task(tmp_path, job, Control())[1]["cases"] == 3


def test_the_best_weights_are_kept_and_returned(dataset, monkeypatch):
    """Scores are put in the place of the network's, so that the best ones come in the middle."""
    scores = iter([0.1, 0.7, 0.2, 0.3])
    seen = []

    def score(network, *rest):
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return next(scores)

    monkeypatch.setattr("SparseSegLib.cohort.validation.mean_dice", score)
    settings = replace(QUICK, budget_steps=8, validations=4)
    model = train(dataset, settings, validation=dataset.only([1]))
    assert (model.validation, model.best_step, model.steps) == (0.7, 4, 8)
    assert all(torch.equal(model.weights[name], seen[1][name]) for name in model.weights)
    assert not all(torch.equal(model.weights[name], seen[3][name]) for name in model.weights)


def test_the_dice_of_validation_counts_labeled_voxels_and_classes_that_are_there(dataset):
    network = create_network("unet3d-small", 1, 2, **SMALL).eval()
    with torch.no_grad():
        for weight in network.classify.parameters():
            weight.zero_()
        network.classify.bias[1] = 1.0  # everything is the blob
    labels = dataset.examples[0].labels
    blob, labeled = (labels == 1).sum(), (labels != 255).sum()
    found = mean_dice(network, dataset.only([0]), (16, 16, 16), CPU, lambda: None)
    assert found == pytest.approx(2 * blob / (blob + labeled))
    two = replace(dataset, names=("blob", "nowhere"))
    three = create_network("unet3d-small", 1, 3, **SMALL).eval()
    assert 0 <= mean_dice(three, two.only([0]), (16, 16, 16), CPU, lambda: None) <= 1
    validation = Validation(dataset, 4)
    assert [validation.due(fraction) for fraction in (0.0, 0.2, 0.25, 1.0)] == [False, False, True, True]


def test_a_resumed_training_goes_on_with_its_log_and_its_best_weights(dataset, tmp_path):
    settings = replace(QUICK, budget_steps=20, validations=2, checkpoint_seconds=0.0)
    validation = make_dataset([make_example(make_case(7), (1.0, 1.0, 1.0))], (1.0, 1.0, 1.0), dataset.names)
    whole = train(dataset, settings, validation=validation, files=Files(log=tmp_path / "whole"))
    files = Files(tmp_path / "c.pt", tmp_path / "log")
    source = CancelSource()
    with pytest.raises(Canceled):
        train(dataset, settings, Control(source.token, Listener(12, source.cancel)), validation=validation, files=files)
    with (tmp_path / "log" / "training.csv").open("a") as log:
        log.write("99,1.0,0.1,0.003,\n11,1.")  # of steps after the last checkpoint, and cut off
    resumed = train(dataset, settings, validation=validation, files=files)
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)
    assert (resumed.validation, resumed.best_step) == (whole.validation, whole.best_step)
    tables = [list(csv.DictReader((tmp_path / part / "training.csv").open())) for part in ("whole", "log")]
    for row in (*tables[0], *tables[1]):
        row.pop("seconds")
    assert tables[0] == tables[1]
    assert [row["step"] for row in tables[0]] == ["10", "20"]


def test_tensorboard_is_written_or_missed(tmp_path):
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(DependencyError, match="TensorBoard"):
            TrainingLog(tmp_path, tensorboard=True)
        return
    log = TrainingLog(tmp_path, tensorboard=True)
    log.add(1, 0.5, 0.25, 1e-3, 0.75)
    log.close()
    assert list(tmp_path.glob("events*"))


def test_weights_that_may_know_the_cases_left_out_are_no_start(dataset, job, tmp_path):
    settings = replace(QUICK, budget_steps=1)
    fresh = train(dataset.only([0]), settings, validation=dataset.only([1]))
    train(dataset, settings, checkpoint=tmp_path / "c.pt")
    events, files = Listener(), Files(tmp_path / "c.pt")
    again = train(dataset.only([0]), settings, Control(events=events), validation=dataset.only([1]), files=files)
    assert "starting over" in events.messages[0]
    assert all(torch.equal(fresh.weights[name], again.weights[name]) for name in fresh.weights)
    job["settings"] |= {"folds": 2, "fold": 1, "spacing": [2.0, 2.0, 2.0], "budget_steps": 1}
    train_task(tmp_path, job, Control())
    job["settings"]["seed"] = 1
    train_task(tmp_path, job, Control(events=events))
    assert any("starting over" in text for text in events.messages[1:])
    assert not any("Starting from" in text for text in events.messages)


def test_splits_that_cannot_be_are_refused_before_anything_is_read(job, tmp_path):
    gone = [{**case, "volumes": [f"gone-{number}.nrrd"]} for number, case in enumerate(job["inputs"]["cases"])]
    for settings, validation, words in (
        ({"folds": 5}, [], "5 folds"),
        ({"folds": 1}, [], "1 folds"),
        ({"held_out": 4}, [], "4 of 4 cases"),
        ({"folds": 4, "held_out": 3}, [], "3 of 3 cases"),
        ({}, [{**gone[2], "name": "again"}], "again is among the cases to learn from"),
    ):
        inputs = {"cases": gone, "validation": validation}
        with pytest.raises(UsageError, match=words):
            train_task(tmp_path, {"inputs": inputs, "settings": {**SETTINGS, **settings}}, Control())


def test_a_structure_in_neither_has_no_score(dataset):
    network = create_network("unet3d-small", 1, 3, **SMALL).eval()
    with torch.no_grad():
        for weight in network.classify.parameters():
            weight.zero_()
        network.classify.bias[0] = 1.0  # everything is background
    card = replace(CARD, arguments=SMALL, labels=(*CARD.labels, ModelLabel(2, "nowhere", (0, 1, 0))))
    sparse = make_case(0)
    dense = blob(sparse.volume.geometry).labels.astype(np.uint8)
    for labels in (sparse.labels, SparseLabels(dense, sparse.volume.geometry, names=("blob",))):
        scores = score_case(Predictor(card, network, CPU), replace(sparse, labels=labels), ("blob", "nowhere"))
        assert [(score.name, score.dice) for score in scores] == [("blob", 0.0)]
    rows = [FoldScores(1, f"p{dice}", (replace(scores[0], dice=dice),)) for dice in (0.5, 0.7)]
    found = scores_as_json([*rows, FoldScores(2, "empty", ())])["dice"]
    assert found == {
        "blob": {"mean": 0.6, "deviation": pytest.approx(np.std([0.5, 0.7], ddof=1), abs=1e-5), "cases": 2}
    }
    assert scores_as_json(rows[:1])["dice"]["blob"]["deviation"] is None


def test_a_dense_volume_may_be_without_the_structure(dataset):
    case = make_case(3)
    empty = replace(case, labels=SparseLabels(np.zeros(case.labels.array.shape, np.uint8), case.volume.geometry))
    examples = [make_example(one, (1.0, 1.0, 1.0)) for one in (case, empty)]
    both = make_dataset(examples, (1.0, 1.0, 1.0))
    assert both.names == ("blob",)
    events = Listener()
    model = train(both, replace(QUICK, budget_steps=2), Control(events=events), validation=both.only([1]))
    assert "the last weights count" in events.messages[0]
    assert (model.validation, model.best_step) == (None, 2)
    with pytest.raises(AnnotationError, match="None of the volumes"):
        train(both.only([1]), QUICK)
