"""What is shown before the network has learned anything, and how slices are left out of a prediction."""

import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.densify.first_guess import DECAY, FORGOTTEN_AFTER, FirstGuess, fading_share
from SparseSegLib.densify.slice_learner import _filled


def _slices() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Two slices of two channels; the class is 1 where their sum is large, and half of the pixels are unlabeled."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(2, 20, 20, generator=generator) for _ in range(2)]
    labels = [(one.sum(0) > 1.2).long() for one in inputs]
    for drawn in labels:
        drawn[:, ::2] = UNLABELED
    return inputs, labels


def test_the_guess_is_the_optimum_of_the_weighted_cross_entropy():
    inputs, labels = _slices()
    weights = torch.tensor([0.5, 1.5])
    guess = FirstGuess.of(inputs, labels, weights)
    image, drawn = torch.cat(inputs, 1), torch.cat(labels)
    pixels, truth = image[:, drawn != UNLABELED].T, drawn[drawn != UNLABELED]
    coefficients = guess.coefficients[..., 0, 0].clone().requires_grad_()
    wrong = torch.nn.functional.cross_entropy(pixels @ coefficients.T + guess.intercepts, truth, weights)
    (wrong + DECAY * coefficients.square().sum()).backward()
    assert coefficients.abs().max() > 1
    assert coefficients.grad.abs().max() < 1e-3


def test_what_lies_under_unlabeled_pixels_does_not_reach_the_guess():
    inputs, labels = _slices()
    guess = FirstGuess.of(inputs, labels, torch.ones(2))
    for one in inputs:
        one[:, :, ::2] = 7.0
    again = FirstGuess.of(inputs, labels, torch.ones(2))
    assert torch.equal(guess.coefficients, again.coefficients)


def test_the_guess_finds_what_it_has_learned():
    inputs, labels = _slices()
    guess = FirstGuess.of(inputs, labels, torch.ones(2))
    found = guess.logits(torch.stack(inputs)).softmax(1)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 20, 20))
    seen = labels[0] != UNLABELED
    assert (found.argmax(1)[0] == labels[0])[seen].float().mean() > 0.95


def test_what_was_known_before_fades_with_the_steps_of_the_network():
    shares = [fading_share(0), fading_share(FORGOTTEN_AFTER // 2), fading_share(FORGOTTEN_AFTER)]
    assert shares == [1.0, 0.5, 0.0]
    assert fading_share(10 * FORGOTTEN_AFTER) == 0


def test_slices_that_are_left_out_are_interpolated_across_groups():
    places = torch.arange(10.0)
    slices = (places**2).view(-1, 1, 1, 1).expand(-1, 2, 3, 4)
    chosen = slices[::3]  # 0, 3, 6, 9
    filled = torch.cat([_filled(None, chosen[:2], 3), _filled(chosen[1], chosen[2:], 3)])
    expected = torch.tensor([0, 3, 6, 9, 18, 27, 36, 51, 66, 81.0])
    torch.testing.assert_close(filled[:, 0, 0, 0], expected)
    assert torch.equal(_filled(None, slices, 1), slices)
