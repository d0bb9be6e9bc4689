"""A model as the start of a densification: its network joins the experts, and learns on from the annotated slices."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import GEOMETRIES, blob

from SparseSegLib.annotation import sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import AdaptedRecipe, Request, adapted
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.settings import PRESETS
from SparseSegLib.errors import UsageError
from SparseSegLib.evaluation import iou
from SparseSegLib.models import ModelLabel, combine_bundles, load_card, save_bundle
from SparseSegLib.models.building import step_cost
from SparseSegLib.models.bundle import load_weights
from SparseSegLib.models.fitting import classes_for

CPU = torch.device("cpu")


def _problem(phantom, counts=(1, 1, 1), names=("blob",), coarser=1):
    drawn = sparsify(phantom.labels, phantom.volume.geometry, counts, names)
    return make_problem(phantom.volume, drawn, 0.1, 10**6, None, coarser)


def _expert(bundle, problem, hidden=frozenset(), **options):
    expert = AdaptedRecipe(str(bundle), **options).make(problem, 0, CPU)
    expert.set_annotation(problem, hidden)
    return expert


def _found(expert):
    problem = expert.problem
    found = expert.predict(Request.whole(problem), CancelToken())
    assert found.shape == (problem.classes, *problem.labels.array.shape)
    return problem.to_region(found, 0, problem.region_shape[0]).argmax(0).numpy()


def _loud(phantom):
    """The phantom in so much noise that few slices do not show where the blob is."""
    noise = np.random.default_rng(5).normal(0, 0.35, phantom.labels.shape).astype(np.float32)
    return replace(phantom, volume=replace(phantom.volume, array=phantom.volume.array + noise))


@pytest.mark.parametrize("geometry", ["identity", "flipped", "oblique"])
def test_it_begins_with_what_the_model_knows_on_any_grid_and_is_ready_at_once(bundle, geometry):
    phantom = blob(GEOMETRIES[geometry])
    for coarser, least in ((1, 0.7), (2, 0.6)):
        problem = _problem(phantom, coarser=coarser)
        expert = _expert(bundle, problem)
        assert (expert.steps, expert.trained > 0) == (0, True)
        assert iou(_found(expert) == 1, phantom.labels[problem.box] == 1) > least
    box = (slice(2, 5), slice(3, 9), slice(0, 7))
    part = expert.predict(Request(box), CancelToken())
    assert part.shape == (2, 3, 6, 7)
    assert expert.seconds(Request(box)) > 0


def test_a_few_steps_with_a_model_of_like_volumes_find_more_than_without_it(bundle):
    phantom = _loud(blob())
    labels = sparsify(phantom.labels, phantom.volume.geometry, (1, 0, 0), ("blob",))
    settings = DensifySettings(budget_steps=6, device="cpu", experts=("slice-unet",))
    unseen = ~labels.labeled
    scores = []
    for chosen in (settings, replace(settings, start=str(bundle))):
        result = densify(phantom.volume, labels, chosen)
        scores.append(iou((result.labels == 1) & unseen, (phantom.labels == 1) & unseen))
    assert scores[1] > max(0.6, scores[0] + 0.1), scores


def test_it_learns_from_the_slices_what_the_model_did_not_know(bundle):
    phantom = blob()
    dark = replace(phantom, volume=replace(phantom.volume, array=1 - phantom.volume.array))
    expert = _expert(bundle, _problem(dark, (2, 2, 2)), learning_rate=3e-3)
    truth = phantom.labels[expert.problem.box] == 1
    before = iou(_found(expert) == 1, truth)
    for _ in range(60):
        expert.step(1.0)
    after = iou(_found(expert) == 1, truth)
    assert after > max(0.6, before + 0.2), (before, after)


def test_after_a_single_slice_it_counts_more_than_all_others_together(bundle):
    """They have seen one slice of the structure, and it has learned what the structure is."""
    recipes = (*PRESETS["fast"].experts, AdaptedRecipe(str(bundle)))
    ensemble = Ensemble(_problem(blob(), (1, 0, 0)), recipes, 0, CPU)
    assert not ensemble.hidden
    assert ensemble.weights()["adapted"].min() > 0.5


def test_held_out_slices_are_not_learned_from(bundle):
    problem = _problem(blob(), (2, 2, 2))
    plane = problem.labels.planes[0]
    counts = [
        int((expert.learner.labels[0] != 255).sum())
        for expert in (_expert(bundle, problem), _expert(bundle, problem, frozenset([plane])))
    ]
    assert counts[0] > counts[1] > 0


def test_it_goes_on_to_the_same_weights_and_starts_warm_from_them(bundle, monkeypatch):
    problem = _problem(blob())
    first, second, third = (_expert(bundle, problem) for _ in range(3))
    first.step(1.0)
    second.load_state_dict(deepcopy(first.state_dict()))
    for expert in (first, second):
        expert.step(1.0)
    for one, other in zip(first.learner.network.parameters(), second.learner.network.parameters(), strict=True):
        assert torch.equal(one, other)
    third.load_state_dict(first.weights_dict(), warm_start=True)
    assert np.mean(_found(third) == _found(first)) > 0.999
    with pytest.raises(ValueError, match=r"Missing|Unexpected"):
        third.load_state_dict({"averaged": {"w": torch.zeros(1)}, "averaged_steps": 1}, warm_start=True)
    monkeypatch.setattr(adapted, "MOST_KEPT", 10)
    assert first.weights_dict() == {}
    third.load_state_dict({}, warm_start=True)  # of a large model nothing was kept


def test_of_several_networks_the_first_is_adapted(bundle, tmp_path):
    combine_bundles([bundle, bundle], tmp_path / "two", "Two")
    problem = _problem(blob())
    np.testing.assert_array_equal(_found(_expert(tmp_path / "two", problem)), _found(_expert(bundle, problem)))


def test_a_model_that_costs_more_takes_its_steps_less_often_and_predicts_less(bundle, tmp_path, monkeypatch):
    card, weights = load_weights(bundle)
    monkeypatch.setattr(adapted, "QUICK_COST", 10 * step_cost(bundle, card))
    save_bundle(tmp_path / "wide", replace(card, window=(96, 96, 96)), weights)
    problem = _problem(blob())
    small, wide = _expert(bundle, problem), _expert(tmp_path / "wide", problem)
    assert small.every < wide.every
    assert small.is_quick and not wide.is_quick  # then slices that are held out are predicted one by one
    plane = problem.labels.planes[0]
    assert wide.predict_planes([plane], CancelToken())[0].shape == small.predict_planes([plane], CancelToken())[0].shape


def test_which_structures_and_channels_fit_is_said_in_words(bundle):
    card = load_card(bundle)
    assert classes_for(card, ["Segment_1"], 1) == (1,)
    several = replace(card, labels=(ModelLabel(1, "Liver", (1, 0, 0)), ModelLabel(2, "tumor", (0, 1, 0))))
    assert classes_for(several, ["Tumor ", "liver"], 1) == (2, 1)
    with pytest.raises(UsageError, match="knows Liver, tumor; annotated are liver, spleen"):
        classes_for(several, ["liver", "spleen"], 1)
    with pytest.raises(UsageError, match="annotated are liver"):
        classes_for(several, ["liver"], 1)
    with pytest.raises(UsageError, match="the volume has 2"):
        classes_for(card, ["blob"], 2)


def test_a_densification_from_a_model_that_does_not_fit_is_refused_before_it_learns(bundle):
    phantom = blob()
    labels = sparsify(np.where(phantom.labels == 1, 1 + (np.indices(phantom.labels.shape)[2] > 20), 0).astype(np.uint8),
                      phantom.volume.geometry, (1, 1, 1), ("left", "right"))  # fmt: skip
    with pytest.raises(UsageError, match="knows blob; annotated are left, right"):
        densify(phantom.volume, labels, DensifySettings(budget_steps=1, device="cpu", start=str(bundle)))
