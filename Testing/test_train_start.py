"""Trainings that begin with the weights of a model."""

from dataclasses import replace

import pytest
import torch
from cohort_helpers import CARD, SMALL, make_case

from SparseSegLib.control import Control
from SparseSegLib.errors import UsageError
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.models import ModelLabel, save_bundle
from SparseSegLib.models.bundle import load_weights
from SparseSegLib.networks import create_network
from SparseSegLib.worker.train_task import train_task

KNOWN = replace(CARD, arguments=SMALL)


@pytest.fixture
def model(tmp_path):
    """A bundle with random weights, and these."""
    torch.manual_seed(5)
    weights = create_network("unet3d-small", 1, 2, **SMALL).state_dict()
    save_bundle(tmp_path / "model", KNOWN, weights)
    return tmp_path / "model", weights


@pytest.fixture
def adapt(tmp_path):
    """Trains one step, the first of the warm-up, from a model; the card and weights that come out."""
    case = make_case(0)
    image, labels = tmp_path / "image.nrrd", tmp_path / "labels.nrrd"
    write_image(case.volume.array, case.volume.geometry, image)
    write_labels(case.labels.array, case.volume.geometry, labels)
    inputs = {"cases": [{"volumes": [str(image)], "labels": str(labels), "names": ["blob"]}]}

    def train(start, **more):
        settings = {"name": "Adapted", "start": str(start), "budget_steps": 1, "device": "cpu", **more}
        files, _ = train_task(tmp_path, {"task": "train", "inputs": inputs, "settings": settings}, Control())
        return load_weights(tmp_path / files["bundle"])

    return train


def test_network_grid_and_weights_are_the_models(model, adapt):
    bundle, weights = model
    card, found = adapt(bundle)
    assert (card.network, card.window) == (KNOWN.network, KNOWN.window)
    assert card.preprocessing.spacing == KNOWN.preprocessing.spacing
    assert {name: card.arguments[name] for name in SMALL} == SMALL
    for name, value in weights.items():
        assert (found[name] - value).abs().max() < 0.01, name


def test_the_card_says_what_it_was_adapted_from(model, adapt, tmp_path):
    _, weights = model
    save_bundle(tmp_path / "licensed", replace(KNOWN, license="CC-BY 4.0", data="ten phantoms", modality="MR"), weights)
    card, _ = adapt(tmp_path / "licensed")
    assert (card.license, card.modality) == ("CC-BY 4.0", "MR")
    assert card.data == f"Adapted from {KNOWN.name}: ten phantoms"
    assert adapt(tmp_path / "licensed", license="CC0")[0].license == "CC0"


def test_bias_fields_are_treated_as_the_model_knows_them_unless_chosen_otherwise(model, adapt, tmp_path, monkeypatch):
    corrected = []
    monkeypatch.setattr("SparseSegLib.cohort.dataset.correct_bias_field", lambda volume: corrected.append(1) or volume)
    bundle, weights = model
    assert adapt(bundle, recipe="milletari2016")[0].preprocessing.bias_field == "none"
    assert not corrected
    save_bundle(tmp_path / "n4", replace(KNOWN, preprocessing=replace(KNOWN.preprocessing, bias_field="n4")), weights)
    assert adapt(tmp_path / "n4")[0].preprocessing.bias_field == "n4"
    assert corrected
    assert adapt(tmp_path / "n4", bias_field="none")[0].preprocessing.bias_field == "none"
    with pytest.raises(UsageError, match="none, n4"):
        adapt(bundle, bias_field="n5")


def test_a_card_that_does_not_fit_is_refused(model, adapt, tmp_path):
    bundle, weights = model
    with pytest.raises(UsageError, match="is unet3d-small, not vnet-small"):
        adapt(bundle, network="vnet-small")
    with pytest.raises(UsageError, match="do not fit the network"):
        adapt(bundle, regions="separate")
    save_bundle(tmp_path / "other", replace(KNOWN, labels=(ModelLabel(1, "liver", (1, 0, 0)),)), weights)
    with pytest.raises(UsageError, match="knows liver; annotated are blob"):
        adapt(tmp_path / "other")
    wide = create_network("unet3d-small", 2, 2, **SMALL).state_dict()
    two = replace(KNOWN.preprocessing, channels=("T1", "T2"))
    save_bundle(tmp_path / "two", replace(KNOWN, preprocessing=two), wide)
    with pytest.raises(UsageError, match="2 channels"):
        adapt(tmp_path / "two")
