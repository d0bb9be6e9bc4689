"""The rule for the experts' weights."""

import numpy as np
import pytest

from SparseSegLib.densify.weighting import expert_weights, slice_trust

NAN = float("nan")


def test_weights_follow_the_formula():
    found = expert_weights([1.0, 0.5], np.array([[0.9], [0.8]]), gain=10, least=0)
    expected = np.array([1.0, 0.5 * np.exp(10 * (0.8**2 - 0.9**2))])
    np.testing.assert_allclose(found[:, 0], expected / expected.sum())


def test_without_scores_the_prior_weights_hold():
    found = expert_weights([3.0, 1.0], np.array([[NAN, 0.5], [NAN, 0.5]]), least=0)
    np.testing.assert_allclose(found, [[0.75, 0.75], [0.25, 0.25]])


def test_the_order_of_the_experts_changes_nothing():
    priors, scores = np.array([1.0, 0.5, 0.2]), np.array([[0.9, 0.3], [0.85, NAN], [0.6, 0.7]])
    order = [2, 0, 1]
    np.testing.assert_allclose(expert_weights(priors, scores)[order], expert_weights(priors[order], scores[order]))


def test_each_structure_has_weights_of_its_own():
    found = expert_weights([1.0, 1.0], np.array([[0.9, 0.2], [0.2, 0.9]]), gain=10)
    assert found[0, 0] > 0.9
    assert found[0, 1] < 0.1
    np.testing.assert_allclose(found.sum(0), 1)


def test_an_expert_that_was_not_scored_counts_as_an_average_one():
    found = expert_weights([1.0, 1.0, 1.0], np.array([[0.9], [0.7], [NAN]]), gain=10, least=0)
    average = ((0.9**2 + 0.7**2) / 2) ** 0.5
    same = expert_weights([1.0, 1.0, 1.0], np.array([[0.9], [0.7], [average]]), gain=10, least=0)
    np.testing.assert_allclose(found, same)


@pytest.mark.parametrize(("score", "left_out"), [(0.5, True), (0.85, False)])
def test_an_expert_far_behind_the_best_is_left_out(score, left_out):
    found = expert_weights([1.0, 1.0], np.array([[0.9], [score]]), gain=10, least=0.05)
    assert (found[1, 0] == 0) == left_out
    np.testing.assert_allclose(found.sum(0), 1)


def test_an_expert_that_predicts_nothing_yet_has_no_weight():
    found = expert_weights([0.0, 1.0], np.array([[0.99], [0.5]]))
    np.testing.assert_array_equal(found, [[0.0], [1.0]])


def test_a_score_from_the_beginning_of_a_training_counts_little():
    scores = np.array([[0.1], [0.7]])
    assert expert_weights([1.0, 1.0], scores, [1.0, 1.0])[0, 0] < 0.05
    np.testing.assert_allclose(expert_weights([1.0, 1.0], scores, [0.0, 0.0]), 0.5)
    assert 0.05 < expert_weights([1.0, 1.0], scores, [0.3, 1.0])[0, 0] < 0.5


def test_more_held_out_slices_say_more():
    trust = [slice_trust(slices) for slices in (0, 1, 2, 8, 1000)]
    assert trust == sorted(trust)
    assert trust[:2] == [0.0, 0.5]
    assert trust[-1] > 0.99


def test_among_experts_that_hardly_find_anything_differences_count_little():
    low, high = (expert_weights([1.0, 1.0], np.array([[best], [best - 0.2]]), least=0)[0, 0] for best in (0.25, 0.9))
    assert 0.5 < low < 0.65
    assert high > 0.9
