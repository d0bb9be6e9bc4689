"""The prostate model's whole path, tiny: data, training, resuming, cross-validation, plausibility checks."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from Experiments.prostate import prostate_taps, prostate_training
from Experiments.prostate.card import CARD
from Experiments.prostate.cases import find_cases, split_cases
from Experiments.prostate.prostate_taps import challenge_score, score, taps_command
from Experiments.synthesis import paint, pelvis_phantom
from scipy import ndimage

from SparseSegLib.cli import main
from SparseSegLib.control import Control
from SparseSegLib.errors import DependencyError, UsageError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.io import read_labels, write_image, write_labels
from SparseSegLib.models import load_network
from SparseSegLib.prediction.plausibility import image_warnings, volume_warnings
from SparseSegLib.preprocessing.for_model import prepare_for
from SparseSegLib.worker.segment_task import segment_task

SPACING = (2.0, 1.25, 1.25)
SIZE = (16, 32, 32)
pytestmark = pytest.mark.usefixtures("workers")
TINY = ("--width", "4", "--window", "16", "16", "16", "--phantoms", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two pelvic phantoms with masks that nobody vouches for, and one for testing only with an expert's."""
    folder = tmp_path_factory.mktemp("Prostata ü")
    for seed, (name, mask) in enumerate(
        (("nci_0", "pseudo_prostate"), ("px_1", "pseudo_prostate"), ("promise12_0", "prostate"))
    ):
        anatomy = pelvis_phantom(SIZE, SPACING, np.random.default_rng(seed))
        image = paint(anatomy.tissues, anatomy.detail, torch.Generator().manual_seed(seed))
        geometry = Geometry.identity(SIZE, SPACING)
        write_image(300 + 200 * image.numpy(), geometry, folder / f"{name}_t2.nii.gz")
        write_labels(anatomy.target.numpy().astype(np.uint8), geometry, folder / f"{name}_{mask}.nii.gz")
    return folder


@pytest.fixture
def calls(monkeypatch):
    """How often a bias field was corrected, which other tests cover, and which takes a second each.

    What the network sees of the training volumes is measured twice on each.
    """
    calls = []
    monkeypatch.setattr(prostate_training, "FEATURE_SAMPLES", 2)
    monkeypatch.setattr(
        "SparseSegLib.preprocessing.for_model.correct_bias_field", lambda volume: calls.append(1) or volume
    )
    return calls


def test_a_case_for_testing_is_never_learned_from(data):
    cases = find_cases(data)
    assert [(case.name, case.expert) for case in cases] == [
        ("nci_0", False),
        ("promise12_0", True),
        ("px_1", False),
    ]
    train, held = split_cases(cases, ["px_1"])
    assert [case.name for case in train] == ["nci_0"]
    assert [case.name for case in held] == ["px_1"]
    with pytest.raises(UsageError, match="promise12"):
        split_cases(cases, ["promise12_0"])


def test_training_resumes_and_its_bundle_segments(data, calls, tmp_path, capsys):
    bundle = tmp_path / "tiny"

    def train(*more):
        return prostate_training.main(["--data", str(data), "-o", str(bundle), "--holdout", "px_1", *TINY, *more])

    assert train("--steps", "1") == 0
    assert len(calls) == 2
    assert train("--steps", "2") == UsageError.exit_code
    assert "--resume" in capsys.readouterr().err
    assert train("--steps", "2", "--resume") == 0
    with open(tmp_path / "tiny.training" / "log.csv", encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2"]
    card, network = load_network(bundle)
    assert "px_1 held out" in card.data
    assert "pseudo-labels" in card.data
    assert "clinical" in card.intended_use
    assert card.figures["cases"] == 1
    assert "held-out Dice px_1" in card.figures
    assert len(card.expectations.mean) == network.arguments["base"] * 16
    assert card.expectations.distance > 0
    capsys.readouterr()
    image = data / "promise12_0_t2.nii.gz"
    job = {"inputs": {"cases": [{"volumes": [str(image)]}]}, "settings": {"model": str(bundle), "device": "cpu"}}
    _, figures = segment_task(tmp_path, job, Control())
    assert figures["cases"][0]["code"] == "model"
    assert "field of view" in figures["cases"][0]["error"]
    out = tmp_path / "out"
    command = ["segment", str(image), "--model", str(bundle), "-o", str(out), "--device", "cpu", "--force", "--json"]
    assert main(command) == 0
    case = json.loads(capsys.readouterr().out)["cases"][0]
    assert "prostate" in case["volume_ml"]
    assert "field of view" in case["doubts"]
    assert ndimage.label(read_labels(out / "promise12_0_t2.seg.nrrd")[0])[1] <= 1


def test_cross_validation_measures_every_volume_once(data, calls, tmp_path, capsys):
    given = ["--data", str(data), "-o", str(tmp_path / "cv"), "--cross-validate", "2", "--steps", "1", *TINY]
    assert prostate_training.main(given) == 0
    figures = json.loads((tmp_path / "cv.training" / "cross-validation.json").read_text(encoding="utf-8"))
    assert figures["cross-validated networks"].endswith("seen it, 1 steps")
    assert figures["cross-validated volumes"] == 2
    assert figures["of these accepted as prostates"] == 0  # their field of view is too small
    table = capsys.readouterr().out
    assert "| nci_0 |" in table
    assert "| px_1 |" in table
    card, network = load_network(tmp_path / "cv")
    assert (card.members, len(network.members)) == (2, 2)
    assert "nci_0, px_1" in card.data
    assert card.figures["steps of each"] == 1
    assert card.expectations.layer.startswith("members.0.")
    capsys.readouterr()
    (tmp_path / "cv.training" / "fold-0" / "checkpoint.pt").unlink()
    assert prostate_training.main(given) == 0  # nothing is trained or measured again
    assert not (tmp_path / "cv.training" / "fold-0" / "checkpoint.pt").exists()


def test_several_networks_of_all_volumes_answer_as_one(data, calls, tmp_path, capsys):
    (tmp_path / "figures.json").write_text('{"cross-validated Dice": 0.5}', encoding="utf-8")
    given = ["--data", str(data), "-o", str(tmp_path / "two"), "--seed", "7", *TINY, "--networks"]
    assert prostate_training.main([*given, "1"]) == UsageError.exit_code
    assert "2 or more" in capsys.readouterr().err
    given += ["2"]
    given += ["--figures", str(tmp_path / "figures.json"), "--steps"]
    assert prostate_training.main([*given, "1"]) == 0
    card, network = load_network(tmp_path / "two")
    assert (card.name, card.members) == ("prostate-vnet", 2)
    assert "2 axial T2 volumes" in card.data
    assert card.figures == {"steps of each": 1, "cross-validated Dice": 0.5}
    first, second = (member.state_dict() for member in network.members)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert prostate_training.main([*given, "2"]) == UsageError.exit_code
    assert "--resume" in capsys.readouterr().err
    assert prostate_training.main([*given, "2", "--resume"]) == 0
    assert load_network(tmp_path / "two")[0].figures["steps of each"] == 2


def test_the_benchmark_measures_a_bundle_and_asks_the_gate(data, calls, tmp_path, capsys):
    bundle, rows = tmp_path / "tiny", tmp_path / "rows.json"
    given = ["--data", str(data), "-o", str(bundle), "--holdout", "none", "--steps", "1", *TINY]
    assert prostate_training.main(given) == 0
    noise = tmp_path / "noise.nii.gz"
    array = np.random.default_rng(0).normal(500, 100, (20, 60, 60)).astype(np.float32)
    write_image(array, Geometry.identity(array.shape, (3.0, 3.0, 3.0)), noise)
    capsys.readouterr()
    given = ["--data", str(data), "--model", str(bundle), "--taps-python", str(tmp_path / "no"), "--json", str(rows)]
    assert prostate_taps.main([*given, "--wrong", str(noise)]) == 0
    said = capsys.readouterr()
    assert "TAPS" in said.err
    assert "1 of 1 wrong images are refused" in said.out
    found = json.loads(rows.read_text(encoding="utf-8"))
    assert {row["name"] for row in found["rows"]} == {"nci_0", "promise12_0", "px_1"}
    assert all("field of view" in row["problem"] for row in found["rows"])
    assert found["sizes"]["SparseSeg"]["model_mb"] > 0
    assert "noise" in found["refusals"]["noise.nii.gz"]


def test_figures_that_cannot_be_read_are_refused_before_the_training(data, tmp_path, capsys):
    nested = tmp_path / "nested.json"
    nested.write_text('{"rows": []}', encoding="utf-8")
    for path in (nested, tmp_path / "missing.json"):
        given = ["--data", str(data), "-o", str(tmp_path / "tiny"), "--steps", "1", *TINY, "--figures", str(path)]
        assert prostate_training.main([*given, "--holdout", "px_1"]) == UsageError.exit_code
        assert "--figures" in capsys.readouterr().err
    assert not (tmp_path / "tiny.training").exists()


def test_the_benchmark_scores_and_says_when_taps_is_missing(data, tmp_path):
    case = next(case for case in find_cases(data) if case.expert)
    assert score(case, case.mask)["dice"] == 1
    assert score(case, tmp_path / "missing.nii.gz")["dice"] == 0
    assert challenge_score(0.0, 0.17) == 100
    assert challenge_score(0.17, 0.17) == pytest.approx(85)
    assert challenge_score(float("nan"), 4.0) == 0
    with pytest.raises(DependencyError, match="TAPS"):
        taps_command(tmp_path / "no" / "python", "cpu")


def test_images_of_other_things_are_refused_by_what_the_prostate_model_expects():
    """By the volume alone, before the network is asked: a CT, a head, noise; a prostate's field of view is not."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(24, 90, 90)), 2.0)
    gray = (300 + 2000 * smooth).astype(np.float32).clip(0)
    expected, pelvis = CARD.expectations, Geometry.identity(gray.shape, (3.0, 2.0, 2.0))

    def warnings(array, geometry):
        volume = Volume(array[None], geometry)
        image, _ = prepare_for(volume, replace(CARD.preprocessing, bias_field="none"))
        return volume_warnings(volume, expected) + image_warnings(image, expected)

    assert warnings(gray, pelvis) == []
    assert "CT" in warnings(gray - 1024, pelvis)[0]
    assert "field of view" in warnings(gray, Geometry.identity(gray.shape, (8.0, 2.5, 2.5)))[0]
    assert "noise" in warnings(rng.normal(500, 100, gray.shape).astype(np.float32), pelvis)[0]
    assert CARD.modality == "MR"
