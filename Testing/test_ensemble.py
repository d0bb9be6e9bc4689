"""The ensemble: whom it trains, judges and blends, with experts from outside the package."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from phantoms import blob, multi_class

from SparseSegLib.annotation import UNLABELED, Plane, sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import Expert, Request, SliceUNetRecipe, TrainableExpert
from SparseSegLib.densify.holdout import (
    choose_held_out,
    unlabeled_counts,
)
from SparseSegLib.densify.member import Member, worthwhile
from SparseSegLib.densify.problem import make_problem, next_problem
from SparseSegLib.errors import UsageError
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry

CPU = torch.device("cpu")
SLICES = SliceUNetRecipe(widths=(4, 8), prior=("walk",))


class MapExpert(Expert):
    """Predicts one label map, whatever is annotated, and counts how often it is asked."""

    def __init__(self, labels: np.ndarray, sureness: float, slow: float) -> None:
        self.labels, self.sureness, self.slow = torch.from_numpy(labels.astype(np.int64)), sureness, slow
        self.hidden, self.asked = [], 0

    def set_annotation(self, problem, hidden):
        """Keep which planes are hidden."""
        self.problem = problem
        self.hidden.append(hidden)

    def predict(self, request: Request, token):
        """``sureness`` for the map's class, the rest for the others."""
        self.asked += 1
        classes = self.problem.classes
        own = torch.nn.functional.one_hot(self.labels[request.box], classes).movedim(-1, 0).float()
        return own * self.sureness + (1 - own) * (1 - self.sureness) / (classes - 1)

    def seconds(self, request):
        """As slow as it was made."""
        return self.slow

    @property
    def ready(self):
        """Whether it is not slow."""
        return not self.slow


@dataclass(frozen=True, eq=False)
class MapRecipe:
    """A recipe from outside the package."""

    labels: np.ndarray = field(repr=False)
    name: ClassVar[str] = "map"
    sureness: float = 0.9
    slow: float = 0.0
    prior_weight: float = 1.0
    warmup: int = 0

    def suits(self, problem, seconds, device):
        """Always."""
        return True

    def make(self, problem, seed, device):
        """The expert, on the region of interest."""
        return MapExpert(self.labels[problem.box], self.sureness, self.slow)


@dataclass(frozen=True, eq=False)
class OtherMapRecipe(MapRecipe):
    """A second one in the same ensemble."""

    name: ClassVar[str] = "other map"


class FakeTrainable(TrainableExpert):
    """Takes steps that do nothing, and can run out of memory."""

    def __init__(self, least: int = 8, value: float = 0.0) -> None:
        self.steps, self.patches, self.least, self.value = 0, 8, least, value

    @property
    def trained(self):
        """All of them."""
        return self.steps

    def set_annotation(self, problem, hidden):
        """Nothing to learn."""
        self.problem, self.hidden = problem, hidden

    def predict(self, request, token):
        """Background."""
        found = torch.zeros(self.problem.classes, *request.shape)
        found[0] = 1
        return found

    def step(self, rate):
        """Count."""
        if self.patches > self.least:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.steps += 1
        return 1.0

    def shrink(self):
        """Half of the patches."""
        self.patches //= 2
        return self.patches

    def state_dict(self):
        """One value."""
        return {"value": self.value}

    def load_state_dict(self, state, *, warm_start=False):
        """Refuse negative values."""
        if state["value"] < 0:
            raise ValueError("negative")
        self.value = state["value"]


def _recipe(name: str, expert: Expert):
    """A recipe that hands out this very expert."""

    @dataclass(frozen=True, eq=False)
    class Recipe:
        prior_weight: float = 1.0
        warmup: int = 0

        def suits(self, problem, seconds, device):
            return True

        def make(self, problem, seed, device):
            return expert

    Recipe.name = name
    return Recipe()


@pytest.fixture(scope="module")
def case():
    phantom = blob(Geometry.identity((24, 28, 32)), noise=0.15)
    return phantom, sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3), names=("blob",))


@pytest.fixture
def problem(case):
    return make_problem(case[0].volume, case[1], 0.1, 10**6)


def _everything(problem):
    return Request.whole(problem)


def test_an_expert_from_outside_that_is_always_wrong_is_weighted_down(case):
    phantom, labels = case
    constant = MapRecipe(np.ones_like(phantom.labels))
    settings = DensifySettings(budget_steps=30, device="cpu", experts=("extra-trees", constant))
    result = densify(phantom.volume, labels, settings)
    alone = densify(phantom.volume, labels, replace(settings, experts=(constant,)))
    unseen = ~labels.labeled
    assert iou((result.labels == 1) & unseen, (phantom.labels == 1) & unseen) > 0.7
    assert iou((alone.labels == 1) & unseen, (phantom.labels == 1) & unseen) < 0.4


def test_held_out_slices_weight_the_better_expert_up(problem, case):
    truth = case[0].labels
    good, bad = MapRecipe(truth), OtherMapRecipe(1 - truth)
    ensemble = Ensemble(problem, [good, bad], 0, CPU)
    hidden = ensemble.hidden
    assert hidden
    before = ensemble.weights()
    assert before["map"] == before["other map"] == [0.5]
    ensemble.fit_weights(CancelToken())
    after = ensemble.weights()
    assert (after["map"], after["other map"]) == ([1.0], [0.0])
    assert not ensemble.hidden
    assert len(ensemble.held_out.drawn) == sum(
        np.take(problem.labels.labeled, one.index, one.axis).sum() for one in hidden
    )


def test_what_is_found_on_new_slices_counts_for_the_estimate_alone(case):
    phantom, labels = case
    array = labels.array.copy()
    planes = [Plane(0, 10), Plane(0, 14)]
    for plane in planes:
        array[plane.voxels] = phantom.labels[plane.voxels]
    later = replace(labels, array=array, planes=tuple(sorted({*labels.planes, *planes})))
    problem = make_problem(phantom.volume, labels, 0.1, 10**6)
    good, bad = MapRecipe(phantom.labels), OtherMapRecipe(1 - phantom.labels)
    ensemble = Ensemble(problem, [good, bad], 0, CPU, hold_out=False)
    more = next_problem(problem, later, 0.1, 10**6)
    new = [plane for plane in more.labels.planes if plane not in problem.labels.planes]
    assert new
    ensemble.foresee(problem, CancelToken())
    assert ensemble.held_out is None
    ensemble.foresee(more, CancelToken())
    assert ensemble.weights()["map"] == ensemble.weights()["other map"] == [0.5]
    assert ensemble.held_out.slices == len(new)
    assert set(ensemble.held_out.found) == {"map", "other map"}
    ensemble.foresee(more, CancelToken())
    assert ensemble.held_out.slices == 2 * len(new)
    assert len(ensemble.held_out.drawn) == len(ensemble.held_out.found["map"][0])


def test_what_experts_find_that_know_one_slice_counts_for_nothing(case):
    phantom, _ = case
    labels = sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 0))
    problem = make_problem(phantom.volume, labels, 0.1, 10**6)
    few = replace(problem, labels=problem.labels.without(problem.labels.planes[0]))
    ensemble = Ensemble(few, [MapRecipe(phantom.labels)], 0, CPU, hold_out=False)
    ensemble.foresee(problem, CancelToken())
    assert ensemble.held_out is None


def test_slices_on_display_ask_no_expert_that_has_to_fit_first(problem, case):
    truth = case[0].labels
    recipes = [MapRecipe(truth), replace(OtherMapRecipe(1 - truth), slow=9.0)]
    ensemble = Ensemble(problem, recipes, 0, CPU)
    plane = Plane(0, 8)
    found = ensemble.predict_planes([plane], CancelToken())[0]
    inside = truth[problem.box][plane.voxels] == 1
    assert found[1].numpy()[inside].min() == pytest.approx(0.9)
    alone = Ensemble(problem, recipes[1:], 0, CPU).predict_planes([plane], CancelToken())[0]
    assert alone[1].numpy()[inside].max() == pytest.approx(0.1)


def test_a_prediction_is_the_weighted_mean(problem, case):
    truth = case[0].labels
    recipes = [replace(MapRecipe(truth), prior_weight=3.0), OtherMapRecipe(1 - truth)]
    found = Ensemble(problem, recipes, 0, CPU).predict(_everything(problem), CancelToken())
    inside = torch.from_numpy(truth[problem.box] == 1)
    assert found[1][inside].unique().tolist() == pytest.approx([0.75 * 0.9 + 0.25 * 0.1])
    torch.testing.assert_close(found.sum(0), torch.ones(found.shape[1:]))


def test_the_estimate_is_of_exactly_what_is_returned(problem, case, monkeypatch):
    """Half of the object by one expert, all of it by another: the IoU of both together, or of the one that is asked."""
    truth = case[0].labels
    half = truth.copy()
    half[:, :, : truth.shape[2] // 2] = 0
    recipes = [replace(MapRecipe(half), sureness=0.6), replace(OtherMapRecipe(truth), sureness=0.7, slow=9.0)]
    ensemble = Ensemble(problem, recipes, 0, CPU)
    hidden = sorted(ensemble.hidden)
    ensemble.fit_weights(CancelToken())
    judged = []
    monkeypatch.setattr(
        "SparseSegLib.densify.holdout.corrected_iou",
        lambda measured, there, here, slices: judged.append((measured, slices)) or measured,
    )
    for within in (None, 1.0):
        found = ensemble.predict(_everything(problem), CancelToken(), within=within)
        overlap = union = 0
        for plane in hidden:
            drawn = np.take(problem.labels.array, plane.index, plane.axis)
            ours = np.take(found.argmax(0).numpy(), plane.index, plane.axis)
            overlap += ((ours == 1) & (drawn == 1)).sum()
            union += (((ours == 1) | (drawn == 1)) & (drawn != UNLABELED)).sum()
        assert ensemble.estimate(unlabeled_counts(problem.labels, found)) == pytest.approx(overlap / union)
    assert judged[0][1] == len(hidden)


def test_the_estimate_follows_what_the_result_promises_itself(problem, case):
    """Where the rest is less sure than the held-out slices were, it is lower."""
    ensemble = Ensemble(problem, [MapRecipe(case[0].labels)], 0, CPU)
    found = ensemble.predict(_everything(problem), CancelToken())
    assert ensemble.estimate(unlabeled_counts(problem.labels, found)) is None
    ensemble.fit_weights(CancelToken())
    found = ensemble.predict(_everything(problem), CancelToken())
    sure, unsure = (
        ensemble.estimate(unlabeled_counts(problem.labels, one)) for one in (found, 0.5 + 0.5 * (found - 0.5))
    )
    assert sure > unsure + 0.001


def test_every_structure_weights_the_experts_by_itself():
    phantom = multi_class(Geometry.identity((24, 28, 32)))
    labels = sparsify(phantom.labels, phantom.volume.geometry, (4, 4, 4))
    problem = make_problem(phantom.volume, labels, 0.1, 10**6)
    first, second = (np.where(np.isin(phantom.labels, own), phantom.labels, 0) for own in ([1], [2, 3]))
    ensemble = Ensemble(problem, [MapRecipe(first), OtherMapRecipe(second)], 0, CPU)
    ensemble.fit_weights(CancelToken())
    weights = ensemble.weights()
    assert weights["map"].tolist() == [1.0, 0.0, 0.0]
    assert weights["other map"].tolist() == [0.0, 1.0, 1.0]
    found = ensemble.predict(_everything(problem), CancelToken()).argmax(0).numpy()
    assert (found == phantom.labels[problem.box]).mean() > 0.95


def test_no_expert_knows_a_slice_that_it_is_judged_by(problem, case):
    training = FakeTrainable()
    known = MapRecipe(case[0].labels)
    ensemble = Ensemble(problem, [known, _recipe("training", training)], 0, CPU)
    hidden = ensemble.hidden
    assert hidden == training.hidden == choose_held_out(problem.labels)
    expert = ensemble.members[0].expert
    assert expert.hidden == [frozenset()]  # shown with all that is known before that
    ensemble.fit_weights(CancelToken())
    assert expert.hidden == [frozenset(), hidden, frozenset()]
    assert training.hidden == frozenset()


def test_what_cannot_change_is_predicted_once(problem, case):
    ensemble = Ensemble(problem, [MapRecipe(case[0].labels)], 0, CPU, hold_out=False)
    expert = ensemble.members[0].expert
    quick = Request.whole(problem, 4, quick=True)
    for request, asked in ((quick, 1), (quick, 1), (_everything(problem), 2), (quick, 2)):
        ensemble.predict(request, CancelToken())
        assert expert.asked == asked
    ensemble.set_annotation(problem)
    ensemble.predict(quick, CancelToken())
    assert expert.asked == 3


def test_where_time_is_short_the_experts_with_little_weight_are_left_out(problem, case):
    truth = case[0].labels
    recipes = [replace(MapRecipe(truth), slow=9.0), replace(OtherMapRecipe(1 - truth), slow=1.0, prior_weight=0.9)]
    assert Ensemble(problem, recipes, 0, CPU).seconds(_everything(problem)) == 10
    inside = torch.from_numpy(truth[problem.box] == 1)
    both = (1.0 * 0.9 + 0.9 * 0.1) / 1.9
    for within, expected in ((2.0, 0.9), (9.5, 0.9), (10.0, both), (None, both)):
        ensemble = Ensemble(problem, recipes, 0, CPU)
        found = ensemble.predict(_everything(problem), CancelToken(), within=within)
        assert found[1][inside].unique().tolist() == pytest.approx([expected])


def test_where_time_is_short_every_structure_keeps_its_best_expert():
    phantom = multi_class(Geometry.identity((24, 28, 32)))
    labels = sparsify(phantom.labels, phantom.volume.geometry, (4, 4, 4))
    problem = make_problem(phantom.volume, labels, 0.1, 10**6)
    first, second = (np.where(np.isin(phantom.labels, own), phantom.labels, 0) for own in ([1], [2, 3]))
    recipes = [replace(MapRecipe(first), slow=5.0), replace(OtherMapRecipe(second), slow=5.0)]
    ensemble = Ensemble(problem, recipes, 0, CPU)
    ensemble.fit_weights(CancelToken())
    found = ensemble.predict(_everything(problem), CancelToken(), within=1.0).argmax(0).numpy()
    assert (found == phantom.labels[problem.box]).mean() > 0.95


def test_a_dear_expert_is_left_out_but_where_it_is_the_best_for_a_structure():
    members = [Member(MapRecipe(np.zeros(1), slow=99.0), MapExpert(np.zeros(1), 0.9, 99.0))]
    members.append(Member(OtherMapRecipe(np.zeros(1)), MapExpert(np.zeros(1), 0.9, 1.0)))
    box = Request((slice(0, 1),) * 3)
    for own, kept in (([0.4, 0.0, 0.0, 0.0, 0.0], members[1:]), ([0.6, 0.0, 0.0, 0.0, 0.0], members)):
        weights = {"map": np.array(own), "other map": 1 - np.array(own)}
        assert worthwhile(members, [box], weights) == kept


def test_scores_stay_when_the_annotation_changes(problem, case):
    truth = case[0].labels
    ensemble = Ensemble(problem, [MapRecipe(truth), OtherMapRecipe(1 - truth)], 0, CPU)
    ensemble.fit_weights(CancelToken())
    ensemble.set_annotation(problem)
    assert ensemble.weights()["map"] == [1.0]
    again = Ensemble(problem, [MapRecipe(truth), OtherMapRecipe(1 - truth)], 0, CPU)
    again.load_state_dict(ensemble.state_dict())
    assert again.weights()["map"] == [1.0]
    assert torch.equal(again.held_out.drawn, ensemble.held_out.drawn)


def test_an_expert_that_is_worth_nothing_is_trained_no_further(problem, case):
    first, second = FakeTrainable(), FakeTrainable()
    recipes = [MapRecipe(case[0].labels), _recipe("first", first), _recipe("second", second)]
    ensemble = Ensemble(problem, recipes, 0, CPU)
    ensemble.step(1.0)
    ensemble.step(1.0)
    ensemble.state_dict()
    assert first.steps == second.steps == 2
    ensemble.fit_weights(CancelToken())
    weights = ensemble.weights()
    assert weights["first"] == weights["second"] == [0.0]
    ensemble.step(1.0)
    ensemble.state_dict()
    assert (first.steps, second.steps) == (3, 2)  # the first one always goes on


@pytest.mark.parametrize("scarce", [0, 1])
def test_memory_that_is_short_costs_patches_of_the_expert_that_needed_it(problem, scarce):
    experts = [FakeTrainable(), FakeTrainable()]
    experts[scarce].least = 4
    recipes = [_recipe("first", experts[0]), _recipe("second", experts[1])]
    ensemble = Ensemble(problem, recipes, 0, CPU)
    with pytest.raises(torch.OutOfMemoryError):
        for _ in range(3):
            ensemble.step(1.0)
    assert ensemble.shrink() == 4
    assert experts[scarce].patches == 4
    assert experts[1 - scarce].patches == 8


def test_a_state_that_does_not_fit_changes_nothing(problem):
    experts = [FakeTrainable(value=1.0), FakeTrainable(value=2.0)]
    recipes = [_recipe("first", experts[0]), _recipe("second", experts[1])]
    ensemble = Ensemble(problem, recipes, 0, CPU)
    state = ensemble.state_dict()
    state["experts"] = {"first": {"value": 5.0}, "second": {"value": -1.0}}
    with pytest.raises(ValueError, match="negative"):
        ensemble.load_state_dict(state)
    assert [expert.value for expert in experts] == [1.0, 2.0]


@dataclass(frozen=True, eq=False)
class Unsuited(MapRecipe):
    """One that suits nothing."""

    def suits(self, problem, seconds, device):
        """Never."""
        return False


def test_where_no_expert_suits_that_is_said(problem, case):
    with pytest.raises(UsageError, match="None of the experts"):
        Ensemble(problem, [Unsuited(case[0].labels)], 0, CPU)


@pytest.mark.parametrize(
    ("experts", "why"),
    [(("trees",), "no expert called 'trees'"), ((), "No expert"), (("extra-trees", "extra-trees"), "twice")],
)
def test_experts_that_cannot_be_chosen_are_refused(experts, why):
    with pytest.raises(UsageError, match=why) as caught:
        DensifySettings(experts=experts)
    assert caught.value.hint


def test_experts_are_chosen_by_name_or_recipe():
    settings = DensifySettings(experts=("random-walk", SLICES))
    assert [recipe.name for recipe in settings.recipes] == ["random-walk", "slice-unet"]
    assert settings.recipes[1] == SLICES


def test_a_problem_with_other_labels_has_another_prior(problem):
    prior = problem.prior(("walk",))
    assert problem.prior(("walk",)) is prior
    assert replace(problem, labels=problem.labels.without(problem.labels.planes[0])).prior(("walk",)) is not prior
