"""Held-out slices: which they are, and the IoU that they and the probabilities let expect."""

import numpy as np
import pytest
import torch
from phantoms import multi_class

from SparseSegLib.annotation import keep_planes, sparsify
from SparseSegLib.densify.holdout import HeldOut, choose_held_out, corrected_iou, expected_counts, expected_iou
from SparseSegLib.image import Geometry


def test_what_probabilities_promise_themselves():
    inside = torch.tensor([0.9, 0.7, 0.2, 0.1])
    found = expected_iou(expected_counts(torch.stack([1 - inside, inside])))
    assert found == pytest.approx([(0.9 + 0.7) / (2 + 0.2 + 0.1)])
    assert expected_iou(expected_counts(torch.tensor([[0.9, 0.8], [0.1, 0.2]]))) == [0], "nothing is predicted"


def test_there_is_an_estimate_where_nothing_was_found_on_the_held_out_slices():
    drawn = torch.tensor([0, 1, 1, 0], dtype=torch.uint8)
    nothing = torch.tensor([0.9, 0.6, 0.7, 0.9])
    held_out = HeldOut(drawn, {"one": torch.stack([nothing, 1 - nothing])}, 1)
    weights = {"one": np.ones(1)}
    some, none = (held_out.estimate(weights, np.array(counts)) for counts in ([[8.0], [10.0], [2.0]], [[0.0]] * 3))
    assert 0 < none < 0.1 < some < 1


def test_a_measured_iou_is_corrected_by_odds():
    found = corrected_iou(np.array([0.8, 0.5]), np.array([0.75, 0.5]), np.array([0.75, 0.8]), 10**6)
    assert found == pytest.approx([0.8, 0.8], abs=1e-4)
    untold = corrected_iou(np.array([0.1]), np.array([0.9]), np.array([0.7]), 0)
    assert 0.7 < untold[0] < 0.85
    few, many = (corrected_iou(np.array([0.4]), np.array([0.8]), np.array([0.8]), slices)[0] for slices in (1, 20))
    assert 0.4 < many < few < 0.84


def test_held_out_slices_leave_every_class_shown():
    phantom = multi_class(Geometry.identity((24, 28, 32)))
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))
    chosen = choose_held_out(labels)
    rest = labels
    for plane in chosen:
        rest = rest.without(plane)
    assert chosen
    assert set(np.unique(rest.array)) == set(np.unique(labels.array))
    assert not choose_held_out(keep_planes(phantom.labels, phantom.volume.geometry, labels.planes[:2]))
    assert not choose_held_out(labels, learned=labels.planes)
