"""The random walk that has the last word: against a dense solution, on labels, and where the network wavers."""

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels
from SparseSegLib.densify.held_out import choose_refinement
from SparseSegLib.densify.refinement import LEAST_TRUST, Refinement, refine
from SparseSegLib.image import Geometry
from SparseSegLib.prior.random_walk import WEAKEST_EDGE

SHAPE = (4, 5, 6)


def _probabilities(classes: int, shape=SHAPE) -> torch.Tensor:
    return torch.randn(classes, *shape, generator=torch.Generator().manual_seed(1)).softmax(0)


def _image(channels: int = 1, shape=SHAPE) -> torch.Tensor:
    return torch.rand(channels, *shape, generator=torch.Generator().manual_seed(2))


def _labels(shape=SHAPE) -> torch.Tensor:
    labels = torch.full(shape, UNLABELED, dtype=torch.uint8)
    labels[0], labels[2, 1] = 0, 1
    return labels


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (3, 2)])
def test_it_solves_the_linear_system(classes, channels):
    probabilities, image, labels = _probabilities(classes), _image(channels), _labels()
    walk = Refinement(contrast=5, trust=0.7)
    number = np.arange(labels.numel()).reshape(SHAPE)
    matrix = np.zeros((labels.numel(), labels.numel()))
    for axis in range(3):
        pairs = zip(np.moveaxis(number, axis, 0)[:-1].ravel(), np.moveaxis(number, axis, 0)[1:].ravel(), strict=True)
        for first, second in pairs:
            values = image.reshape(channels, -1).numpy()
            weight = np.exp(-5 * np.mean((values[:, first] - values[:, second]) ** 2)) + WEAKEST_EDGE
            matrix[[first, second], [first, second]] += weight
            matrix[[first, second], [second, first]] -= weight
    certainty = (probabilities.max(0).values.numpy().ravel() * classes - 1) / (classes - 1)
    trust = 0.7 * (certainty + LEAST_TRUST)
    free = (labels == UNLABELED).numpy().ravel()
    expected = np.empty((classes, free.size))
    for label in range(1, classes):
        belief = probabilities[label].numpy().ravel()
        fixed = np.where(free, 0, labels.numpy().ravel() == label)
        right = trust * belief - matrix @ fixed
        solution = np.linalg.solve((matrix + np.diag(trust))[np.ix_(free, free)], right[free])
        expected[label] = fixed
        expected[label][free] = solution
    expected[0] = 1 - expected[1:].sum(0)
    found = refine(probabilities, image, labels, walk).reshape(classes, -1).numpy()
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_labeled_voxels_keep_their_labels_and_probabilities_sum_to_one():
    labels = _labels()
    found = refine(_probabilities(3), _image(), labels, Refinement(30, 1))
    labeled = labels != UNLABELED
    assert (found.argmax(0)[labeled] == labels[labeled]).all()
    torch.testing.assert_close(found.sum(0), torch.ones(SHAPE))
    assert found.min() >= 0


def test_a_volume_of_one_slice_and_one_without_labels_are_walked_too():
    flat = (1, 5, 6)
    found = refine(_probabilities(2, flat), _image(1, flat), torch.full(flat, UNLABELED), Refinement(30, 1))
    assert torch.isfinite(found).all()


def test_where_the_network_wavers_the_edge_in_the_image_decides():
    image = torch.zeros(1, 6, 6, 12)
    image[..., 6:] = 2.0
    labels = torch.full((6, 6, 12), UNLABELED, dtype=torch.uint8)
    labels[3, :, :6], labels[3, :, 6:] = 1, 0
    unsure = torch.full((2, 6, 6, 12), 0.5)
    found = refine(unsure, image, labels, Refinement(30, 1)).argmax(0)
    assert (found[..., :6] == 1).all()
    assert (found[..., 6:] == 0).all()


def _half_known(noise: float) -> tuple[torch.Tensor, torch.Tensor, SparseLabels, list[Plane]]:
    """A ball, seen by a network with so much noise; two planes annotated, one of them held out."""
    place = torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij")) - 7.5
    ball = (place.square().sum(0) < 30).float()
    planes = (Plane(0, 5), Plane(0, 8))
    array = np.full((16, 16, 16), UNLABELED, np.uint8)
    for plane in planes:
        array[plane.voxels] = ball.numpy()[plane.voxels]
    wrong = torch.randn(ball.shape, generator=torch.Generator().manual_seed(3))
    inside = ((ball * 4 - 2) * (1 - noise) + noise * 2 * wrong).sigmoid()
    labels = SparseLabels(array, Geometry.identity(array.shape), planes, ("ball",))
    return torch.stack([1 - inside, inside]), ball[None] * 2 - 1, labels, [Plane(0, 8)]


def test_held_out_slices_choose_a_walk_for_a_noisy_network_and_none_for_a_perfect_one():
    probabilities, image, labels, hidden = _half_known(noise=0.7)
    chosen, estimate = choose_refinement(probabilities, image, labels, hidden, 2)
    assert chosen is not None
    there = hidden[0].voxels
    truth = torch.from_numpy(labels.array[there])
    noisy = probabilities.argmax(0)[there]
    assert estimate > ((noisy == 1) & (truth == 1)).sum() / ((noisy == 1) | (truth == 1)).sum()
    probabilities, image, labels, hidden = _half_known(noise=0)
    assert choose_refinement(probabilities, image, labels, hidden, 2) == (None, 1.0)
