"""Nested regions: to labels and back, probabilities, the loss; what is zero is not normalized."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cohort_helpers import CARD, CPU, QUICK, SIZE, SMALL
from phantoms import multi_class
from test_networks import SMALLER

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.cli.models import card_in_words
from SparseSegLib.cohort import About, Case, Example, TrainSettings, make_card, make_dataset, train
from SparseSegLib.cohort import trainer as trainer_module
from SparseSegLib.cohort.scoring import score_case
from SparseSegLib.errors import UsageError
from SparseSegLib.image import Geometry
from SparseSegLib.models import load_network, save_bundle
from SparseSegLib.models.regions import in_words, numbered
from SparseSegLib.networks import create_network, network_names
from SparseSegLib.networks.objective import training_loss
from SparseSegLib.networks.regions import BRATS, RegionScheme, region_scheme
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.preprocessing.grid import prepare
from SparseSegLib.preprocessing.nonzero import normalize_nonzero
from SparseSegLib.training.losses import region_cross_entropy, region_dice


def test_labels_become_nested_regions_and_labels_again():
    labels = torch.tensor([[0, 1, 2, 3, UNLABELED]], dtype=torch.uint8)
    regions = BRATS.regions_of(labels)
    assert regions[0].int().tolist() == [[0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]]
    assert BRATS.labels_of(regions).tolist() == [[0, 1, 2, 3, 0]]
    assert BRATS.is_nested and not RegionScheme.separate("a", "b").is_nested


def test_the_challenges_own_label_values_work_too():
    scheme = RegionScheme(("WT", "TC", "ET"), ((1, 2, 4), (1, 4), (4,)))
    labels = torch.tensor([[0, 1, 2, 4]], dtype=torch.uint8)
    assert scheme.regions_of(labels)[0].int().tolist() == [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]
    assert scheme.labels_of(scheme.regions_of(labels)).tolist() == labels.tolist()
    assert scheme.is_nested


def test_regions_that_contradict_one_another_become_the_outer_label():
    whole_and_enhancing = torch.tensor([True, False, True]).view(1, 3, 1)
    enhancing_alone = torch.tensor([False, False, True]).view(1, 3, 1)
    assert BRATS.labels_of(whole_and_enhancing).item() == 1
    assert BRATS.labels_of(enhancing_alone).item() == 0


def test_probabilities_of_labels_are_those_of_the_regions():
    logits = torch.randn(2, 1, 3, 4)
    one = RegionScheme.nested("object").class_logits(logits).softmax(1)
    torch.testing.assert_close(one[:, 1:], logits.sigmoid())
    p, q = torch.tensor(0.8), torch.tensor(0.3)
    found = (
        RegionScheme.nested("outer", "inner").class_logits(torch.logit(torch.stack([p, q])).view(1, 2, 1)).softmax(1)
    )
    possible = torch.stack([(1 - p) * (1 - q), p * (1 - q), p * q])
    torch.testing.assert_close(found[0, :, 0], possible / possible.sum())


@pytest.mark.parametrize("regions", ["best", ["1+2", "1+2"], ["1"], ["0+1", "2"], ["a", "b"]])
def test_regions_that_do_not_fit_the_classes_are_refused(regions):
    with pytest.raises(UsageError):
        region_scheme(regions, 3)


def test_regions_written_as_sums_of_labels():
    assert region_scheme(["1+2+3", "2+3", "3"], 4).labels == region_scheme("nested", 4).labels
    assert region_scheme(["1", "2"], 3).labels == region_scheme("separate", 3).labels


def test_the_dice_of_regions_sees_no_unlabeled_voxel():
    logits = torch.randn(2, 3, 4, 5, 6)
    labels = torch.randint(0, 4, (2, 4, 5, 6))
    labels[:, 2:] = UNLABELED
    labeled = labels != UNLABELED
    other = torch.where(labeled[:, None], logits, torch.full_like(logits, 50.0)).requires_grad_()
    loss = region_dice(other, BRATS.regions_of(labels), labeled)
    loss.backward()
    torch.testing.assert_close(loss.detach(), region_dice(logits, BRATS.regions_of(labels), labeled))
    assert float(other.grad[~labeled[:, None].expand_as(logits)].abs().max()) == 0
    right = 100.0 * (2 * BRATS.regions_of(labels).float() - 1)
    assert float(region_dice(right, BRATS.regions_of(labels), labeled)) == pytest.approx(0, abs=1e-5)
    assert float(region_dice(-right, BRATS.regions_of(labels), labeled)) == pytest.approx(3, abs=1e-5)


def test_zeros_stay_and_the_rest_gets_mean_zero_and_deviation_one():
    image = torch.rand(3, 6, 7, 8) * 100 + 50
    image[:, :2] = 0
    image[1, 2:] = 5
    image[2] = 0
    found = normalize_nonzero(image)
    assert float(found[:, :2].abs().max()) == 0
    assert float(found[0, 2:].mean()) == pytest.approx(0, abs=1e-4)
    assert float(found[0, 2:].std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert float(found[1:].abs().max()) == 0


def test_the_cross_entropy_of_regions_sees_no_unlabeled_voxel_and_weighs_classes():
    labels = torch.randint(0, 4, (2, 4, 5, 6))
    labels[:, 2:] = UNLABELED
    labeled = labels != UNLABELED
    logits = torch.randn(2, 3, 4, 5, 6)
    other = torch.where(labeled[:, None], logits, torch.full_like(logits, 50.0)).requires_grad_()
    truth = BRATS.regions_of(labels)
    loss = region_cross_entropy(other, truth, labels)
    loss.backward()
    p = logits.sigmoid().movedim(1, -1)[labeled]
    t = truth.movedim(1, -1)[labeled].float()
    each = -(t * p.log() + (1 - t) * (1 - p).log()).sum(1)
    assert float(loss.detach()) == pytest.approx(float(each.mean()), rel=1e-5)
    assert float(other.grad[~labeled[:, None].expand_as(logits)].abs().max()) == 0
    weights = torch.tensor([1.0, 0.0, 2.0, 5.0])
    shares = weights[labels[labeled]]
    expected = float((each * shares).sum() / shares.sum())
    assert float(region_cross_entropy(logits, truth, labels, weights)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", network_names())
def test_every_network_learns_regions(name):
    torch.manual_seed(0)
    arguments = {**SMALLER.get(name, {}), "regions": ["1+2", "2"]}
    network = create_network(name, 1, 3, **arguments)
    margin = getattr(network, "margin", 0)
    size = (9, 10, 11)[-network.dimensions :]
    if not getattr(network, "padded", True):
        size = tuple(network.valid_size(side + 2 * margin) for side in size)
    image = torch.randn(1, 1, *size)
    inside = (slice(None), *(slice(margin, side - margin) for side in size))
    labels = ((image[:, 0] > 0.3).long() + (image[:, 0] > 1))[inside]

    def loss(logits, target):
        assert logits.shape[1] == 2  # the regions' logits, not those of three classes
        return region_cross_entropy(logits, network.scheme.regions_of(target), target)

    training_loss(network, image, labels, loss).backward()
    assert all(weight.grad is not None for weight in network.parameters())
    stored = json.loads(json.dumps(network.arguments))
    again = create_network(name, stored.pop("in_channels"), stored.pop("classes"), **stored).eval()
    again.load_state_dict(network.eval().state_dict())
    with torch.inference_mode():
        found = network(image)
        assert found.shape == (1, 3, *labels.shape[1:])
        torch.testing.assert_close(again(image), found)
        regions = network.region_logits(image)
        torch.testing.assert_close(network.scheme.class_logits(regions), found)


def test_a_single_region_is_a_network_of_two_classes():
    torch.manual_seed(0)
    plain = create_network("unet3d-small", 1, 2, **SMALL)
    region = create_network("unet3d-small", 1, 2, **SMALL, regions="nested")
    region.network.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(region(image).softmax(1), plain(image).softmax(1))


def _nested(seed):
    """A phantom of a core (2) in a shell (1), annotated all over, and the example that it makes."""
    phantom = multi_class(Geometry.identity(SIZE), seed=seed)
    phantom = replace(phantom, labels=np.where(phantom.labels == 3, 0, phantom.labels).astype(np.uint8))
    image = prepare(phantom.volume, phantom.volume.geometry)
    return phantom, Example(f"{seed}", image, phantom.labels, ("Shell", "core"))


def test_regions_are_trained_saved_and_become_exclusive_labels_again(tmp_path):
    dataset = make_dataset([_nested(seed)[1] for seed in range(2)], (1.0, 1.0, 1.0))
    settings = replace(QUICK, regions=("shell+core", "CORE"), budget_steps=60, patch=(16, 24, 24))
    model = train(dataset, settings)
    assert model.arguments["regions"] == ["1+2", "2"]
    card = save_bundle(tmp_path / "r", make_card(dataset, settings, model, About()), model.weights)
    assert "regions       Shell + core, core" in card_in_words(card)
    predictor = Predictor(*load_network(tmp_path / "r"), CPU)
    unseen, _ = _nested(7)
    labels = SparseLabels(unseen.labels, unseen.volume.geometry, names=("shell", "core"))
    scores = {score.name: score for score in score_case(predictor, Case("7", unseen.volume, labels), dataset.names)}
    assert list(scores) == ["Shell", "core", "Shell + core"]
    assert scores["Shell + core"].dice > 0.6


def test_the_recipes_have_losses_of_regions_and_unlabeled_voxels_weigh_nothing(dataset):
    logits = torch.randn(1, 1, 4, 4, 4)
    labels = torch.randint(0, 2, (1, 4, 4, 4), dtype=torch.uint8)
    labels[:, 2:] = UNLABELED
    truth, other = labels[:, None] == 1, torch.where(labels[:, None] == UNLABELED, 9.0, logits)
    expected = region_dice(logits, truth, labels != UNLABELED)
    for recipe, added in (("usual", True), ("milletari2016", False), ("myronenko2018", False)):
        settings = TrainSettings(
            recipe=recipe, network="unet3d-small", arguments=SMALL, regions="nested", patch=(8, 8, 8), device="cpu"
        )
        learner = trainer_module._make_learner(dataset, settings, CPU)
        more = region_cross_entropy(logits, truth, labels, learner.weights) if added else 0
        torch.testing.assert_close(learner.region_loss(logits, truth, labels), expected + more)
        torch.testing.assert_close(learner.region_loss(other, truth, labels), expected + more)
        losses = [learner.step(1.0) for _ in range(2)]
        assert all(loss > 0 for loss in losses)


def test_regions_in_a_users_words():
    names = ("edema", "Core", "enhancing tumor")
    assert numbered("nested", names) == numbered(["nested"], names) == "nested"
    assert numbered(["edema + core+3", "core+Enhancing Tumor", "3"], names) == ["1+2+3", "2+3", "3"]
    for wrong in (["edema", "necrosis"], ["4"], ["edema+"], "all"):
        with pytest.raises(UsageError, match="no structure") as caught:
            numbered(wrong, names)
        assert "edema, Core, enhancing tumor" in caught.value.hint
    assert "regions" not in card_in_words(CARD)
    assert "regions       blob" in card_in_words(replace(CARD, arguments={"regions": "nested"}))
    assert "regions       7+x" in card_in_words(replace(CARD, arguments={"regions": ["7+x"]}))
    assert in_words("nested", names) == "edema + Core + enhancing tumor, Core + enhancing tumor, enhancing tumor"
    assert in_words("separate", names) == "edema, Core, enhancing tumor"
