"""Plausibility checks: images and findings that are unlike the model's own are refused; and what the card says."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CPU
from phantoms import blob

from SparseSegLib.errors import ModelError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.inference import Mirrored
from SparseSegLib.models import load_card, load_network, save_bundle
from SparseSegLib.models.card import Expectations, card_from_json, card_to_json
from SparseSegLib.networks import create_network
from SparseSegLib.networks.ensemble import Ensemble
from SparseSegLib.prediction import plausibility
from SparseSegLib.prediction.components import largest_components
from SparseSegLib.prediction.predictor import Predictor

EXPECTED = Expectations(
    image="a blob",
    extent_low=(15.0, 15.0, 15.0),
    extent_high=(60.0, 60.0, 60.0),
    negative=0.3,
    smoothness=0.3,
    volume=(0.5, 6.0),
    confidence=0.6,
    compactness=0.6,
    off_center=6.0,
)


@pytest.fixture(scope="module")
def known(bundle):
    """Card and network of a model that knows what a blob is like."""
    card, network = load_network(bundle)
    return replace(card, expectations=EXPECTED, postprocessing=("largest_component",)), network


def _segment(known, volume, **settings):
    predictor = Predictor(*known, CPU, **settings)
    return predictor.segment(volume), predictor


def test_a_blob_is_accepted(known):
    phantom = blob(Geometry.identity((20, 24, 28)), seed=7)
    labels, predictor = _segment(known, phantom.volume)
    assert predictor.warnings == []
    assert (labels == 1).sum() > 500


def test_other_images_are_refused_with_the_reason(known):
    good = blob(Geometry.identity((20, 24, 28)), seed=7).volume
    noise = np.random.default_rng(0).normal(500, 50, good.array.shape).astype(np.float32)
    for volume, reason in (
        (replace(good, geometry=Geometry.identity((20, 24, 28), (5, 1, 1))), "field of view is 28 × 24 × 100 mm"),
        (replace(good, array=good.array * 2000 - 1000), "below zero"),
        (replace(good, array=noise), "noise"),
        (Volume(np.roll(good.array, (10, 0, 0), (1, 2, 3)), good.geometry), "ml|shape|middle"),
    ):
        with pytest.raises(ModelError, match=reason) as caught:
            _segment(known, volume)
        assert "does not look like a blob" in caught.value.message
        assert "--force" in caught.value.hint
        _, predictor = _segment(known, volume, force=True)
        assert predictor.warnings


def test_findings_are_judged_by_size_certainty_shape_and_place():
    grid = Geometry.identity((32, 32, 32))
    z, y, x = np.ogrid[-16:16, -16:16, -16:16]
    ball = z**2 + y**2 + x**2 < 64
    sure = np.where(ball, 0.9, 0.1).astype(np.float32)

    def warnings(mask, certainty=sure):
        return " ".join(plausibility.finding_warnings(plausibility.Found(mask, certainty, grid), EXPECTED))

    assert warnings(ball) == ""
    assert "nothing" in warnings(np.zeros_like(ball))
    assert "has 93 mm³, and" in warnings(z**2 + y**2 + x**2 < 9)
    assert "unsure" in warnings(ball, sure * 0.6)
    shell = ball & ~(z**2 + y**2 + x**2 < 49)
    assert "shape" in warnings(shell)
    assert "mm from the middle" in warnings(np.roll(ball, 8, 2), np.full_like(sure, 0.9))


def test_a_result_that_is_likely_to_have_faults_comes_with_a_warning(known):
    card, network = known
    volume = blob(Geometry.identity((20, 24, 28)), seed=7).volume
    labels, predictor = _segment((replace(card, expectations=replace(EXPECTED, expected_dice=1.0)), network), volume)
    assert (labels == 1).sum() > 500
    (warning,) = predictor.warnings
    assert warning.startswith("the model is unsure about its outline (it expects a Dice of 0.")


def test_the_expected_dice_is_that_of_the_largest_piece():
    certainty = np.zeros((4, 4, 4), np.float32)
    certainty[0, 0], certainty[3, 3, 3], certainty[2, 0, 0] = 0.8, 0.6, 0.4
    found = plausibility.Found(certainty > 0.5, certainty, Geometry.identity((4, 4, 4)))
    assert plausibility.expected_dice(found) == pytest.approx(2 * 3.2 / (4 + 3.2 + 0.6 + 0.4))
    nothing = replace(found, mask=np.zeros_like(found.mask))
    assert plausibility.expected_dice(nothing) == 0


def test_features_far_from_the_training_volumes_are_noticed():
    torch.manual_seed(0)
    network = create_network("vnet-small", 1, 2, base=4).eval()
    near = torch.randn(12, 1, 16, 16, 16) * 0.1
    features = plausibility.layer_means(network, "left.4", near)
    assert features.shape == (12, 64)
    expected = plausibility.with_features(EXPECTED, "left.4", features)
    assert all(not plausibility.features_warnings(row, expected) for row in features)
    other = np.add(expected.mean, np.multiply(2 * expected.distance, expected.deviation))
    assert "distance" in plausibility.features_warnings(other, expected)[0]
    mask = np.zeros((20, 20, 20), bool)
    assert plausibility.features_around(network, "left.4", torch.zeros(1, 20, 20, 20), mask, (16, 16, 16), CPU) is None
    mask[18:, 2, 2] = True
    corner = torch.zeros(1, 20, 20, 20)
    corner[:, 4:, :16, :16] = near[0]
    found = plausibility.features_around(network, "left.4", corner, mask, (16, 16, 16), CPU)
    np.testing.assert_allclose(found, features[0], rtol=1e-3, atol=1e-4)


def test_networks_that_disagree_are_noticed(known):
    card, network = known
    several = replace(card, members=2, expectations=replace(EXPECTED, agreement=0.7))
    volume = blob(Geometry.identity((20, 24, 28)), seed=7).volume
    alike = Ensemble([network, network])
    assert Predictor(several, alike, CPU).segment(volume).any()
    reluctant = copy.deepcopy(network)
    with torch.no_grad():
        reluctant.classify.bias[0] += 50.0  # finds nothing
    image = torch.from_numpy(volume.array)
    agreement = plausibility.agreement_around(alike, image, np.ones((20, 24, 28), bool), card.window, CPU)
    assert agreement == 1
    with pytest.raises(ModelError, match=r"networks disagree about what they found \(Dice 0"):
        Predictor(several, Ensemble([network, network, reluctant]), CPU).segment(volume)
    assert plausibility.agreement_around(alike, image, np.zeros((20, 24, 28), bool), card.window, CPU) is None
    assert plausibility.agreement_warnings(None, several.expectations) == []


def test_a_layer_that_the_network_does_not_have_or_that_does_not_fit_is_refused(known):
    card, network = known
    volume = blob(Geometry.identity((20, 24, 28)), seed=7).volume
    layer = next(name for name, part in network.named_modules() if isinstance(part, torch.nn.Conv3d))
    compared = replace(EXPECTED, layer=layer, mean=(0.0,) * 999, deviation=(1.0,) * 999, distance=1.0)
    with pytest.raises(ModelError, match=r"no layer no\.such"):
        Predictor(replace(card, expectations=replace(compared, layer="no.such")), network, CPU)
    with pytest.raises(ModelError, match="999"):
        Predictor(replace(card, expectations=compared), network, CPU).segment(volume)


def test_of_each_structure_the_largest_piece_stays():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:2, :2, :2], labels[4:, 4:, 5] = 1, 1
    labels[0, 5, 5], labels[5, :3, 0] = 2, 2
    cleaned = largest_components(labels)
    assert (np.count_nonzero(cleaned == 1), np.count_nonzero(cleaned == 2)) == (8, 3)
    assert not largest_components(np.zeros((3, 3, 3), np.uint8)).any()


def test_mirroring_averages_along_the_axes_of_the_card_only():
    torch.manual_seed(0)
    network = create_network("vnet-small", 1, 2, base=4).eval()
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        mean = (network(image).softmax(1) + network(image.flip(4)).softmax(1).flip(4)) / 2
        torch.testing.assert_close(Mirrored(network, "x")(image).softmax(1), mean)


def test_the_card_keeps_what_it_expects_and_refuses_nonsense(bundle):
    card = replace(load_card(bundle), expectations=EXPECTED, postprocessing=("largest_component",), mirrored_axes="x")
    content = json.loads(json.dumps(card_to_json(card)))
    assert card_from_json(content, "test") == card
    for key, value in (("extent_low", [1, 2]), ("negative", "much"), ("mean", ["x"]), ("volume", None)):
        wrong = {**content, "expectations": {**content["expectations"], key: value}}
        with pytest.raises(ModelError, match=key):
            card_from_json(wrong, "test")
    for wrong in ({"mean": [0.0], "deviation": []}, {"mean": [0.0], "deviation": [0.0]}, {"layer": "head"}):
        with pytest.raises(ModelError, match=r"mean|deviation"):
            card_from_json({**content, "expectations": {**content["expectations"], **wrong}}, "test")
    with pytest.raises(ModelError, match="postprocessing"):
        card_from_json({**content, "postprocessing": ["polish"]}, "test")


def test_half_precision_takes_half_the_space_and_nearly_nothing_changes(bundle, tmp_path):
    card, network = load_network(bundle)
    save_bundle(tmp_path / "half", card, network.state_dict(), half=True)
    _, smaller = load_network(tmp_path / "half")
    sizes = [(path / "weights.safetensors").stat().st_size for path in (tmp_path / "half", bundle)]
    assert sizes[0] < 0.75 * sizes[1]
    image = torch.randn(1, 1, 16, 16, 16)
    assert next(smaller.parameters()).dtype == torch.float32
    torch.testing.assert_close(smaller(image).softmax(1), network(image).softmax(1), atol=5e-3, rtol=0)
