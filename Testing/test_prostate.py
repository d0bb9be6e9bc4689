"""The prostate model beside TAPS, tiny: cases, figures, and the images that it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from Experiments.prostate import prostate_taps
from Experiments.prostate.card import make_card
from Experiments.prostate.cases import find_cases
from Experiments.prostate.learner import Recipe
from Experiments.prostate.prostate_taps import challenge_score, score, taps_command
from phantoms import blob
from scipy import ndimage

from SparseSegLib.errors import DependencyError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.models import save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.plausibility import image_warnings, volume_warnings
from SparseSegLib.preprocessing.for_model import prepare_for

SPACING = (2.0, 1.25, 1.25)
SIZE = (16, 32, 32)
CARD = make_card(Recipe())
pytestmark = pytest.mark.usefixtures("workers")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two phantoms with masks that nobody vouches for, and one with an expert's."""
    folder = tmp_path_factory.mktemp("Prostata ü")
    for seed, (name, mask) in enumerate(
        (("nci_0", "pseudo_prostate"), ("px_1", "pseudo_prostate"), ("promise12_0", "prostate"))
    ):
        phantom = blob(Geometry.identity(SIZE, SPACING), seed=seed)
        geometry = phantom.volume.geometry
        write_image(300 + 200 * phantom.volume.array[0], geometry, folder / f"{name}_t2.nii.gz")
        write_labels(phantom.labels, geometry, folder / f"{name}_{mask}.nii.gz")
    return folder


def test_cases_are_found_with_who_drew_them(data):
    found = [(case.name, case.expert) for case in find_cases(data)]
    assert found == [("nci_0", False), ("promise12_0", True), ("px_1", False)]


def test_the_benchmark_measures_a_bundle_and_what_it_refuses(data, tmp_path, capsys):
    bundle, rows = tmp_path / "tiny", tmp_path / "rows.json"
    card = replace(CARD, arguments={"widths": [4, 4]})
    save_bundle(bundle, card, create_network(card.network, 1, card.classes, **card.arguments).state_dict())
    noise = tmp_path / "noise.nii.gz"
    array = np.random.default_rng(0).normal(500, 100, (20, 60, 60)).astype(np.float32)
    write_image(array, Geometry.identity(array.shape, (3.0, 3.0, 3.0)), noise)
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
        image, _ = prepare_for(volume, CARD.preprocessing)
        return volume_warnings(volume, expected) + image_warnings(image, expected)

    assert warnings(gray, pelvis) == []
    assert "CT" in warnings(gray - 1024, pelvis)[0]
    assert "field of view" in warnings(gray, Geometry.identity(gray.shape, (8.0, 2.5, 2.5)))[0]
    assert "noise" in warnings(rng.normal(500, 100, gray.shape).astype(np.float32), pelvis)[0]
    assert CARD.modality == "MR"
