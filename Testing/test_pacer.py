"""The pacer: when to preview, how carefully to predict, when to end; with a clock that the tests turn."""

import pytest
from phantoms import blob, multi_class

from SparseSegLib.annotation import sparsify
from SparseSegLib.densify import DensifySettings
from SparseSegLib.densify import pacer as pacer_module
from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.pacer import AFTER_UPDATE, HELD_OUT_UNTIL, LONGEST_RESERVE, MOST_STRIDE, Pacer
from SparseSegLib.densify.problem import make_problem


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("SparseSegLib.training.budget.time.monotonic", clock)
    return clock


@pytest.fixture(scope="module")
def problem():
    phantom = blob()
    return make_problem(phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2)), 0.1, 10**6)


def _seconds(whole: float):
    """A prediction of every slice takes ``whole`` seconds, of every second one half of it."""
    return lambda request: whole / request.stride / (3 if request.quick else 1)


def _pacer(**settings) -> Pacer:
    return Pacer(DensifySettings(**{"budget_seconds": 60, **settings}), 0.0)


def test_time_is_left_for_the_last_prediction(clock, problem):
    pacer = _pacer()
    clock.now += 2
    pacer.has_previewed(problem, _seconds(6.0))
    assert not pacer.is_over(10)
    clock.now = 100 + 60 - 6.5
    assert not pacer.is_over(10)
    clock.now = 100 + 60 - 5.5
    assert pacer.is_over(10)


def test_the_first_step_is_always_taken(clock):
    pacer = _pacer()
    clock.now += 1000
    assert not pacer.is_over(0)
    assert pacer.is_over(1)


@pytest.mark.parametrize(("whole", "stride"), [(5, 1), (30, 2), (60, 3), (500, MOST_STRIDE)])
def test_a_last_prediction_that_takes_too_long_leaves_out_slices(clock, problem, whole, stride):
    assert _pacer().last_request(problem, _seconds(whole)) == Request.whole(problem, stride)
    assert _pacer(budget_steps=5).last_request(problem, _seconds(whole)) == Request.whole(problem)


def test_no_more_than_a_part_of_the_budget_is_kept_for_the_last_prediction(clock, problem):
    pacer = _pacer()
    pacer.has_previewed(problem, _seconds(1e6))
    assert pacer.budget.reserve == LONGEST_RESERVE * 60


def test_previews_come_sooner_at_first_and_take_a_tenth_of_the_time_at_most(clock, problem):
    pacer = _pacer(preview_seconds=10)
    request, within = pacer.next_preview(problem)
    assert (request, within) == (Request.whole(problem, MOST_STRIDE, quick=True), None)
    clock.now += 2.0
    pacer.has_previewed(problem, _seconds(1))
    assert pacer.next_preview(problem) is None
    clock.now += 2.1
    assert pacer.next_preview(problem)[0] == Request.whole(problem, 2, quick=True)
    pacer.has_previewed(problem, _seconds(18))  # of which a preview takes 3
    clock.now += 29.0
    assert pacer.next_preview(problem) is None
    clock.now += 1.1
    assert pacer.next_preview(problem)


def test_a_region_is_small_by_the_voxels_of_all_its_structures(monkeypatch):
    phantom = multi_class()
    problem = make_problem(phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2)), 0.1, 10**6)
    voxels = problem.labels.array.size
    monkeypatch.setattr("SparseSegLib.densify.problem.SMALL_VOXELS", 3 * voxels)
    assert problem.is_small
    monkeypatch.setattr("SparseSegLib.densify.problem.SMALL_VOXELS", 3 * voxels - 1)
    assert not problem.is_small


def test_the_first_preview_of_a_large_region_asks_only_who_is_quick(clock, problem, monkeypatch):
    monkeypatch.setattr("SparseSegLib.densify.problem.SMALL_VOXELS", 0)
    pacer = _pacer()
    assert pacer.next_preview(problem)[1] == pacer_module.FIRST_SECONDS
    pacer.has_previewed(problem, _seconds(1))
    clock.now += 30
    assert pacer.next_preview(problem)[1] is None


def test_the_first_preview_of_a_later_round_is_no_coarser_than_what_is_on_display(clock, problem, monkeypatch):
    later = Pacer(DensifySettings(budget_seconds=60), 0.0, 100, later=True)
    assert later.next_preview(problem) == (Request.whole(problem, 2, quick=True), None)
    monkeypatch.setattr("SparseSegLib.densify.problem.SMALL_VOXELS", 0)
    assert later.next_preview(problem) == (Request.whole(problem, 4, quick=True), pacer_module.FIRST_SECONDS)
    later.has_previewed(problem, _seconds(1))
    clock.now += 30
    assert later.next_preview(problem) == (Request.whole(problem, 2, quick=True), None)
    later.extend(110)
    assert later.next_preview(problem) == (Request.whole(problem, 4, quick=True), pacer_module.FIRST_SECONDS)


def test_a_small_region_is_previewed_as_carefully_as_the_result_on_display(clock, problem, monkeypatch):
    later = Pacer(DensifySettings(budget_seconds=60, shown="of another annotation"), 0.0, 100, later=True)
    assert later.next_preview(problem) == (Request.whole(problem), None)
    monkeypatch.setattr("SparseSegLib.densify.problem.SMALL_VOXELS", 0)
    assert later.next_preview(problem)[0] == Request.whole(problem, 4, quick=True)


def test_a_later_round_has_a_part_of_the_budget_and_of_the_learning_rate(clock):
    later = Pacer(DensifySettings(budget_seconds=60), 0.0, 100, later=True)
    assert later.learned(100) == pytest.approx(AFTER_UPDATE)
    assert not later.is_over(100)
    clock.now += AFTER_UPDATE * 60 + 0.1
    assert not later.is_over(100)
    assert later.is_over(101)
    assert later.learned(101) == 1
    steps = Pacer(DensifySettings(budget_steps=10), 0.0, 100, later=True)
    assert [steps.is_over(step) for step in (100, 105, 106)] == [False, False, True]
    steps.extend(104, restart=True)
    assert steps.learned(104) == 0


def test_slices_are_held_out_for_the_first_part(clock):
    pacer = _pacer()
    clock.now += 60 * HELD_OUT_UNTIL - 0.1
    assert not pacer.may_release(5)
    clock.now += 0.2
    assert pacer.may_release(5)


def test_new_annotation_extends_the_budget_and_is_shown_soon(clock, problem):
    pacer = _pacer(preview_seconds=100)
    pacer.next_preview(problem)
    pacer.has_previewed(problem, _seconds(1))
    clock.now += 58
    assert pacer.budget.fraction(5) > AFTER_UPDATE
    pacer.extend(5)
    assert pacer.budget.fraction(5) == pytest.approx(AFTER_UPDATE)
    assert pacer.next_preview(problem)
    steps = _pacer(budget_steps=10)
    steps.extend(9)
    assert steps.budget.fraction(9) == pytest.approx(AFTER_UPDATE)


def test_a_training_that_starts_over_holds_slices_out_again(clock):
    pacer = _pacer()
    clock.now += 58
    pacer.extend(0, restart=True)
    assert not pacer.may_release(0)
    clock.now += 0.45 * pacer.budget.seconds_left(0)
    assert pacer.may_release(5)


def test_in_a_hurry_the_most_careful_look_that_is_quick_enough_is_taken(clock, problem):
    pacer = _pacer()
    assert pacer.hurried_request(problem, _seconds(9)) == Request.whole(problem, quick=True)
    assert pacer.hurried_request(problem, _seconds(20)) == Request.whole(problem, 2, quick=True)


def test_what_an_earlier_run_has_used_counts(clock):
    pacer = Pacer(DensifySettings(budget_seconds=60), 59.0)
    clock.now += 1.1
    assert pacer.is_over(1)


def test_where_the_learning_alone_counts_the_last_prediction_takes_as_long_as_it_takes(clock, problem):
    pacer = Pacer(DensifySettings(budget_seconds=60), 0.0, learning_only=True)
    pacer.has_previewed(problem, _seconds(500.0))
    clock.now += 59
    assert not pacer.is_over(10)
    clock.now += 1.1
    assert pacer.is_over(10)
    assert pacer.last_seconds is None
    assert pacer.last_request(problem, _seconds(500.0)) == Request.whole(problem)


@pytest.mark.parametrize(
    ("counts", "in_parts", "only"),
    [(None, False, False), (None, True, True), ("everything", True, False), ("learning", False, True)],
)
def test_the_learning_alone_counts_in_a_large_region_unless_said(counts, in_parts, only):
    assert DensifySettings(budget_counts=counts).counts_learning_only(in_parts=in_parts) == only
