"""Cross-validation, validation volumes and the log, through the task that the worker runs."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CPU, QUICK, SMALL, Listener, make_case
from phantoms import blob

from SparseSegLib.cohort import Files, make_dataset, make_example, split_folds, train
from SparseSegLib.cohort.scoring import score_case
from SparseSegLib.cohort.validation import Validation, mean_dice
from SparseSegLib.control import CancelSource, Control
from SparseSegLib.errors import Canceled, DependencyError, UsageError
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.models import load_network
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.training.log import TrainingLog
from SparseSegLib.worker.train_task import train_task

SETTINGS = {"arguments": SMALL, "patch": [16, 16, 16], "budget_steps": 3, "device": "cpu", "name": "Blob"}


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
