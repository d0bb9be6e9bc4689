"""Regions that hold one another: to labels and back, probabilities, the loss; what is zero is not normalized."""

import pytest
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.errors import UsageError
from SparseSegLib.losses import region_dice
from SparseSegLib.networks.regions import BRATS, RegionScheme, region_scheme
from SparseSegLib.preprocessing.nonzero import normalize_nonzero


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
