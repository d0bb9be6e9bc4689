"""Noisy labels: weights stay within bounds, wrong labels lose weight, and volumes one by one are one batch."""

import math

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks import create_network
from SparseSegLib.noisy import QualityNetwork, QualityWeighting, noisy_labels, overfitting_control, per_sample
from SparseSegLib.training.losses import soft_dice, weighted_cross_entropy


def _disks(count, generator):
    """Images (B, 1, 24, 24) of bright disks, and their labels."""
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    centers = 12 + 3 * torch.rand(count, 2, 1, 1, generator=generator)
    labels = ((y - centers[:, 0]) ** 2 + (x - centers[:, 1]) ** 2 < 36).long()
    return labels[:, None] + 0.3 * torch.randn(count, 1, 24, 24, generator=generator), labels


def test_the_ratio_of_two_weights_has_a_bound():
    weighting = QualityWeighting(lambda image, target: image, strength=2.0)
    weights = weighting.weights(torch.tensor([-1e3, 0.0, 1e3]), torch.zeros(3))
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights[2] / weights[0]) == pytest.approx(math.exp(4), rel=1e-4)
    assert float(weights[1] / weights[0]) == pytest.approx(math.exp(2), rel=1e-4)
    without = QualityWeighting(lambda image, target: image, strength=None)
    assert float(without.weights(torch.tensor([-50.0, 0.0, 50.0]), torch.zeros(3))[2]) == pytest.approx(1)
    scores = torch.tensor([0.5, -0.5])
    torch.testing.assert_close(overfitting_control(scores, 3.0), 3 * torch.tanh(scores))


def test_the_judge_keeps_judging_where_all_scores_are_large():
    scores = torch.tensor([40.0, 41.0, 42.0], requires_grad=True)
    weights = QualityWeighting(lambda image, target: image).weights(scores, torch.zeros(3))
    assert float((weights[2] / weights[0]).detach()) > 5
    (slopes,) = torch.autograd.grad(weights[2], scores)
    assert float(slopes.abs().min()) > 1e-3


def test_wrong_labels_lose_weight():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = create_network("slice-unet", 1, 2, widths=(8, 16))
    weighting = QualityWeighting(QualityNetwork(1, 2, widths=(8, 16)))
    optimizer = torch.optim.Adam(
        [{"params": network.parameters(), "lr": 1e-2}, {"params": weighting.parameters(), "lr": 1e-3}]
    )
    losses = per_sample(weighted_cross_entropy)
    wrong = torch.arange(8) < 3
    starts = []
    for _ in range(40):
        image, truth = _disks(8, generator)
        given = torch.where(wrong[:, None, None], torch.roll(truth, 9, -1), truth)
        starts.append(weighting.weights(image, given).detach())
        loss = weighting(losses(network(image), given), image, given)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(starts[0].max() / starts[0].min()) < 1.5
    image, truth = _disks(8, generator)
    with torch.no_grad():
        weights = weighting.weights(image, torch.where(wrong[:, None, None], torch.roll(truth, 9, -1), truth))
    assert float(weights[~wrong].mean()) > 3 * float(weights[wrong].mean())


@pytest.mark.parametrize("strength", [2.0, None])
def test_volumes_one_by_one_have_the_gradients_of_their_joint_batch(strength):
    torch.manual_seed(1)
    network = create_network("unet3d-small", 2, 3, base=4, levels=2, norm="none").double()
    weighting = QualityWeighting(QualityNetwork(2, 3, 3, widths=(4, 8)), strength).double()
    torch.nn.init.normal_(weighting.quality.score.weight, std=0.1)  # scores that differ
    losses = per_sample(lambda logits, target: weighted_cross_entropy(logits, target) + soft_dice(logits, target))
    image = torch.randn(4, 2, 8, 9, 10, dtype=torch.float64) * torch.tensor([1, 3, 0.3, 9]).view(-1, 1, 1, 1, 1)
    target = torch.randint(0, 3, (4, 8, 9, 10))
    target[0, :4] = UNLABELED
    parameters = [*network.parameters(), *weighting.parameters()]
    loss = weighting(losses(network(image), target), image, target)
    joint = torch.autograd.grad(loss, parameters)
    samples = [(image[n : n + 1], target[n : n + 1]) for n in range(2)] + [(image[2:], target[2:])]
    found, weights = weighting.accumulate(samples, lambda x, y: losses(network(x), y))
    assert found == pytest.approx(float(loss.detach()))
    torch.testing.assert_close(weights, weighting.weights(image, target).detach())
    for parameter, gradient in zip(parameters, joint, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert all(float(gradient.abs().max()) > 1e-5 for gradient in joint[-9:-1])  # the quality network learns, too


def test_volumes_of_different_sizes_are_weighed_against_one_another():
    quality = QualityNetwork(1, 2, 3, widths=(4, 4))
    samples = [(torch.randn(1, 1, 6, 6, side), torch.randint(0, 2, (1, 6, 6, side))) for side in (5, 8, 11)]
    _, weights = QualityWeighting(quality).accumulate(samples, lambda x, y: x.mean((1, 2, 3, 4)).requires_grad_())
    assert weights.shape == (3,) and float(weights.sum()) == pytest.approx(1)


def test_unlabeled_voxels_belong_to_no_class():
    quality = QualityNetwork(1, 2, widths=(4,))
    seen = []
    quality.levels[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    target = torch.tensor([[[0, 1, UNLABELED]]])
    assert quality(torch.zeros(1, 1, 1, 3), target).shape == (1,)
    assert seen[0][0, 1:, 0].tolist() == [[1, 0, 0], [0, 1, 0]]


def test_noise_grows_or_shrinks_by_the_voxels_that_were_asked_for():
    labels = np.zeros((40, 40), np.uint8)
    labels[15:25, 10:30] = 1
    labels[0, 0] = UNLABELED
    areas = {int((noisy_labels(labels, 2, 2, np.random.default_rng(seed)) == 1).sum()) for seed in range(8)}
    assert areas == {6 * 16, 14 * 24 - 4 * 3}  # a disk of radius 2 leaves out three pixels at each corner
    assert noisy_labels(labels, 1, 9, np.random.default_rng(0))[0, 0] == UNLABELED
    two = np.zeros((20, 20), np.uint8)
    two[5:15, 2:8], two[5:15, 12:18] = 1, 2
    grown = max((noisy_labels(two, 3, 3, np.random.default_rng(seed)) for seed in range(8)), key=np.count_nonzero)
    assert (grown[10] > 0).sum() > (two[10] > 0).sum() and grown[10, 5] == 1 and grown[10, 14] == 2
