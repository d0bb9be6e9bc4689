"""Losses: unlabeled voxels weigh nothing, to the last bit; classes balance."""

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.training.losses import class_weights, has_labels, soft_dice, weighted_cross_entropy


def _case() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 6, 7, 8, generator=generator)
    target = torch.randint(0, 3, (2, 6, 7, 8), generator=generator)
    target[:, 2:, 1:] = UNLABELED
    return logits, target


@pytest.mark.parametrize("loss", [lambda a, b: weighted_cross_entropy(a, b, torch.tensor([0.5, 1, 2])), soft_dice])
def test_what_lies_on_unlabeled_voxels_changes_neither_loss_nor_gradient(loss):
    logits, target = _case()
    other = torch.where((target == UNLABELED)[:, None], 100 * torch.randn(logits.shape), logits)
    results = []
    for values in (logits, other):
        leaf = values.clone().requires_grad_()
        result = loss(leaf, target)
        result.backward()
        results.append((result.detach(), leaf.grad))
    labeled = (target != UNLABELED)[:, None].expand_as(logits)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1][labeled], results[1][1][labeled])
    assert float(results[1][1][~labeled].abs().max()) == 0
    assert float(results[1][1][labeled].abs().max()) > 0


def test_cross_entropy_is_the_weighted_mean_over_labeled_voxels():
    logits, target = _case()
    weights = torch.tensor([0.5, 1.0, 2.0])
    labeled = target != UNLABELED
    chosen = logits.log_softmax(1).movedim(1, -1)[labeled]
    weight = weights[target[labeled]]
    expected = -(weight * chosen.gather(1, target[labeled][:, None])[:, 0]).sum() / weight.sum()
    torch.testing.assert_close(weighted_cross_entropy(logits, target, weights), expected)


def test_soft_dice_is_near_zero_for_the_truth_and_near_one_for_its_opposite():
    target = torch.zeros(1, 10, 10, 10, dtype=torch.long)
    target[:, 3:7] = 1
    right = 50.0 * torch.nn.functional.one_hot(target, 2).movedim(-1, 1)
    assert float(soft_dice(right, target)) == pytest.approx(0, abs=1e-3)
    assert float(soft_dice(-right, target)) == pytest.approx(1, abs=2e-3)


def test_weights_give_rare_and_frequent_classes_the_same_influence():
    counts = np.array([900, 90, 10])
    weights = class_weights(counts).numpy()
    np.testing.assert_allclose(weights * counts, (weights * counts)[0], rtol=1e-5)
    np.testing.assert_allclose(class_weights(counts, 0), 1)


def test_a_batch_without_labels_is_seen():
    assert has_labels(torch.tensor([UNLABELED, 0]))
    assert not has_labels(torch.full((3,), UNLABELED))
