"""Rounds of one volume: what goes on from one to the next, what is computed once, and what a round shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import blob

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, sparsify
from SparseSegLib.control import Board, CancelToken, Control, Mailbox, NullEvents
from SparseSegLib.densify import Densifier, DensifySettings, densify, pacer
from SparseSegLib.densify import densifier as densifier_module
from SparseSegLib.densify.experts import ExtraTreesRecipe, RandomWalkRecipe, Request, SliceUNetRecipe
from SparseSegLib.densify.experts import extra_trees as extra_trees_module
from SparseSegLib.densify.finish import region_labels
from SparseSegLib.densify.holdout import HeldOut
from SparseSegLib.densify.pacer import AFTER_UPDATE
from SparseSegLib.densify.problem import make_problem, next_problem
from SparseSegLib.densify.resume import new_ensemble, weights_of
from SparseSegLib.densify.round import Round
from SparseSegLib.densify.slice_dataset import SliceDataset
from SparseSegLib.densify.slice_features import SliceFeatures
from SparseSegLib.errors import AnnotationError, UsageError, VolumeError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.prior import USUAL_PARTS, AnnotationPrior
from SparseSegLib.prior import appearance as appearance_module
from SparseSegLib.training.checkpoint import load_checkpoint, save_checkpoint

STEPS = 10
EXPERTS = (SliceUNetRecipe(widths=(4, 8), crop=24), ExtraTreesRecipe(trees=4), RandomWalkRecipe())
SETTINGS = DensifySettings(budget_steps=STEPS, device="cpu", preview_seconds=0.0, experts=EXPERTS)


class Watch(NullEvents):
    """Keeps previews and messages."""

    def __init__(self) -> None:
        self.previews, self.messages = [], []

    def message(self, text):
        """Keep it."""
        self.messages.append(text)

    def preview(self, result):
        """Keep it."""
        self.previews.append(result)


@pytest.fixture(scope="module")
def phantom():
    return blob(Geometry.identity((20, 24, 28)), noise=0.15)


@pytest.fixture(scope="module")
def labels(phantom):
    return sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2), names=("blob",))


@pytest.fixture(scope="module")
def more(phantom, labels):
    return _with_slice(phantom, labels, Plane(0, 10))


def _with_slice(phantom, labels, plane):
    array = labels.array.copy()
    array[plane.voxels] = phantom.labels[plane.voxels]
    return replace(labels, array=array, planes=tuple(sorted({*labels.planes, plane})))


def test_a_later_round_goes_on_with_a_part_of_the_budget(phantom, labels, more):
    densifier = Densifier(phantom.volume, SETTINGS)
    densifier.prepare()
    first = densifier.learn(labels)
    alone = densify(phantom.volume, labels, SETTINGS)
    np.testing.assert_array_equal(first.uncertainty, alone.uncertainty)
    second = densifier.learn(more)
    assert second.steps == STEPS + round(AFTER_UPDATE * STEPS)
    assert (second.labels[more.labeled] == more.array[more.labeled]).all()
    assert densifier.learn(more).steps == STEPS + 2 * round(AFTER_UPDATE * STEPS)  # once more, with nothing new


def test_what_depends_on_the_image_alone_is_computed_once(phantom, labels, more, monkeypatch):
    counts = {}

    def counted(module, name):
        function = getattr(module, name)

        def call(*arguments):
            counts[name] = counts.get(name, 0) + 1
            return function(*arguments)

        monkeypatch.setattr(module, name, call)

    counted(extra_trees_module, "VoxelFeatures")
    counted(appearance_module, "bins_of")
    counted(densifier_module, "make_problem")
    densifier = Densifier(phantom.volume, SETTINGS)
    densifier.learn(labels)
    before = dict(counts)
    densifier.learn(more)
    assert counts == before
    assert min(counts.values()) == 1


def test_new_slices_are_learned_before_anything_of_them_is_shown(phantom, labels, more, monkeypatch):
    drawn, patch = [], SliceDataset._patch

    def noted(self, one, size, rng):
        drawn.append(one.view)
        return patch(self, one, size, rng)

    monkeypatch.setattr(SliceDataset, "_patch", noted)
    events = Watch()
    densifier = Densifier(phantom.volume, SETTINGS, Control(events=events))
    first = densifier.learn(labels)
    assert events.previews[0].steps == 0
    events.previews.clear()
    drawn.clear()
    densifier.learn(more)
    place = make_problem(phantom.volume, more, 0.1, 10**6).on_working_grid(Plane(0, 10))
    assert (drawn[0].axis, drawn[0].index) == (place.axis, place.index)
    assert events.previews[0].steps == first.steps + 1


def test_new_slices_in_a_running_round_are_learned_before_they_are_shown(phantom, labels, more):
    events = Watch()

    class AfterFourSteps(Mailbox):
        """Is asked before every step."""

        asked = 0

        def take(self):
            self.asked += 1
            if self.asked != 5:
                return None
            events.previews.clear()
            return more

    densify(phantom.volume, labels, SETTINGS, Control(events=events, updates=AfterFourSteps()))
    assert events.previews[0].steps >= 5


def test_the_slices_on_display_are_shown_first(phantom, labels, more):
    events = Watch()
    looks = Board(((0, 10), (2, 12), (1, 500), (0, 10)))
    densifier = Densifier(phantom.volume, SETTINGS, Control(events=events, looks=looks))
    for own in (labels, more):
        events.previews.clear()
        densifier.learn(own)
        first, whole = events.previews[:2]
        assert first.planes == (Plane(0, 10), Plane(2, 12))
        box = make_problem(phantom.volume, labels, 0.1, 10**6).box
        shown = np.zeros(phantom.labels.shape, bool)
        for plane in first.planes:
            shown[plane.voxels] = True
        assert ((first.labels != UNLABELED) == shown[box]).all()
        drawn = own.labeled[box] & shown[box]
        assert (first.labels[drawn] == own.array[box][drawn]).all()
        assert not whole.planes
        assert (whole.labels != UNLABELED).all()
        assert not any(later.planes for later in events.previews[1:])


def test_slices_on_display_of_a_coarse_region_have_its_own_grid(phantom, labels):
    events = Watch()
    densify(phantom.volume, labels, replace(SETTINGS, coarser=2), Control(events=events, looks=Board(((1, 13),))))
    first = events.previews[0]
    assert first.planes == (Plane(1, 13),)
    assert first.labels.shape == first.geometry.shape
    box = make_problem(phantom.volume, labels, 0.1, 10**6).box
    found = first.labels[:, 13 - box[1].start] == 1
    truth = phantom.labels[:, 13][box[0], box[2]] == 1
    assert (found & truth).sum() > 0.7 * (found | truth).sum()


def test_a_round_after_a_release_is_the_same(phantom, labels, more, tmp_path):
    settings = replace(SETTINGS, estimate=False)
    kept = Densifier(phantom.volume, settings)
    released = Densifier(phantom.volume, settings, checkpoint=tmp_path / "c.pt")
    for one in (kept, released):
        one.learn(labels)
        one.prepare()
    released.release()
    assert released._ensemble is None
    first, second = kept.learn(more), released.learn(more)
    assert first.steps == second.steps
    np.testing.assert_array_equal(first.uncertainty, second.uncertainty)


def test_without_a_checkpoint_nothing_is_released(phantom, labels, more):
    densifier = Densifier(phantom.volume, SETTINGS)
    steps = densifier.learn(labels).steps
    densifier.release()
    assert densifier.learn(more).steps > steps


def test_a_killed_later_round_is_gone_on_with(phantom, labels, more, tmp_path):
    densifier = Densifier(phantom.volume, SETTINGS, checkpoint=tmp_path / "c.pt")
    densifier.learn(labels)
    whole = densifier.learn(more)
    state = load_checkpoint(tmp_path / "c.pt")
    assert (state["first_step"], state["later"], state["finished"]) == (STEPS, True, True)
    save_checkpoint(tmp_path / "c.pt", {**state, "finished": False})
    assert Densifier(phantom.volume, SETTINGS, checkpoint=tmp_path / "c.pt").learn(more).steps == whole.steps


def test_labels_that_cannot_be_used_change_nothing(phantom, labels, more):
    densifier = Densifier(phantom.volume, SETTINGS)
    densifier.learn(labels)
    empty = SparseLabels(np.full(phantom.labels.shape, UNLABELED, np.uint8), phantom.volume.geometry)
    with pytest.raises(AnnotationError):
        densifier.learn(empty)
    assert densifier.learn(more).steps == STEPS + round(AFTER_UPDATE * STEPS)


def test_other_classes_begin_a_first_round(phantom, labels):
    densifier = Densifier(phantom.volume, SETTINGS)
    densifier.learn(labels)
    array = labels.array.copy()
    array[labels.planes[0].index, 2:6, 2:6] = 2
    result = densifier.learn(replace(labels, array=array, names=("blob", "corner")))
    assert result.steps == STEPS
    assert set(np.unique(result.labels)) <= {0, 1, 2}


def test_an_image_that_is_no_good_is_refused_before_any_labels(phantom):
    with pytest.raises(VolumeError):
        Densifier(Volume(np.zeros((1, 8, 8, 8), np.float32), Geometry.identity((8, 8, 8))), SETTINGS).prepare()


def test_a_rehearsal_leaves_no_trace(phantom):
    state = torch.get_rng_state()
    Densifier(phantom.volume, DensifySettings(device="cpu")).prepare()
    assert torch.equal(torch.get_rng_state(), state)
    Densifier(phantom.volume, DensifySettings("unet3d", device="cpu")).prepare()


def test_the_region_stays_while_it_is_large_enough(phantom, labels):
    def after(plane, inside):
        drawn = labels.array.copy()
        drawn[plane.voxels] = 0
        drawn[inside] = 1
        return replace(labels, array=drawn, planes=tuple(sorted({*labels.planes, plane})))

    problem = make_problem(phantom.volume, labels, 0.1, 10**6)
    near = next_problem(problem, after(Plane(0, 10), (10, 11, 13)), 0.1, 10**6)
    far = next_problem(problem, after(Plane(0, 19), (19, 22, 26)), 0.1, 10**6)
    assert near.box == problem.box
    assert near.image is problem.image
    assert far.box[0].stop == 20
    assert next_problem(problem, labels, 0.1, 10**6) is problem


def test_a_region_that_has_become_much_too_large_shrinks(phantom):
    array = np.full(phantom.labels.shape, UNLABELED, np.uint8)
    array[10] = 0
    array[10, 11:14, 12:15] = 1
    labels = SparseLabels(array, phantom.volume.geometry, (Plane(0, 10),))
    wide, tight = (make_problem(phantom.volume, labels, margin, 10**6) for margin in (5.0, 0.1))
    assert wide.box != tight.box
    assert next_problem(wide, labels, 0.1, 10**6).box == tight.box


def test_a_prior_takes_over_what_has_not_changed(phantom, labels, more):
    problem = make_problem(phantom.volume, labels, 0.1, 10**6)
    before = problem.prior(USUAL_PARTS)
    later = next_problem(problem, more, 0.1, 10**6).prior(USUAL_PARTS)
    afresh = make_problem(phantom.volume, more, 0.1, 10**6).prior(USUAL_PARTS)
    assert {id(source) for source in before.sources} < {id(source) for source in later.sources}
    view = SliceFeatures(next_problem(problem, more, 0.1, 10**6), USUAL_PARTS, 1).view(1, 5)
    assert torch.equal(later.channels(view, later.everything), afresh.channels(view, afresh.everything))


def test_whether_the_walk_misleads_is_decided_between_the_rounds(phantom, labels, more, monkeypatch):
    monkeypatch.setattr(AnnotationPrior, "_does_walk_mislead", lambda self: False)
    problem = make_problem(phantom.volume, labels, 0.1, 10**6)
    before = problem.prior(USUAL_PARTS)
    monkeypatch.setattr(AnnotationPrior, "_does_walk_mislead", lambda self: True)
    assert not next_problem(problem, more, 0.1, 10**6).prior(USUAL_PARTS).walk_misleads
    problem.reconsider()
    view = SliceFeatures(problem, USUAL_PARTS, 1).view(1, 5)
    later = next_problem(problem, more, 0.1, 10**6).prior(USUAL_PARTS)
    elsewhere = next_problem(problem, more, 1.0, 10**6)  # in a larger region
    assert elsewhere.image is not problem.image
    monkeypatch.undo()
    assert elsewhere.prior(USUAL_PARTS).walk_misleads
    assert before.channels(view, before.everything)[before.spans["walk"]].any()  # it goes on as it was
    assert not later.channels(view, later.everything)[later.spans["walk"]].any()


def test_another_budget_goes_on_with_what_was_learned(phantom, labels, more):
    densifier = Densifier(phantom.volume, SETTINGS)
    first = densifier.learn(labels)
    second = densifier.learn(more, replace(SETTINGS, budget_steps=20, preview_seconds=5.0))
    assert second.steps == first.steps + round(AFTER_UPDATE * 20)
    assert densifier.learn(labels).steps == second.steps + round(AFTER_UPDATE * 20)  # the settings stay


@pytest.mark.parametrize(
    "changes", [{"seed": 3}, {"experts": EXPERTS[:1]}, {"experts": (replace(EXPERTS[0], widths=(8, 8)),)}]
)
def test_other_networks_start_over_on_what_was_computed_from_the_image(phantom, labels, changes):
    densifier = Densifier(phantom.volume, SETTINGS)
    densifier.learn(labels)
    image = densifier._problem.image
    settings = replace(SETTINGS, **changes)
    again = densifier.learn(labels, settings)
    assert densifier._problem.image is image
    alone = densify(phantom.volume, labels, settings)
    assert again.steps == STEPS
    np.testing.assert_array_equal(again.uncertainty, alone.uncertainty)


def test_a_coarser_grid_is_taken_in_the_next_round(phantom, labels):
    densifier = Densifier(phantom.volume, SETTINGS)
    densifier.learn(labels)
    densifier.learn(labels, replace(SETTINGS, seed=1, coarser=2))
    assert densifier._problem.factors == (2, 2, 2)


def test_settings_that_cannot_be_change_nothing(phantom, labels):
    densifier = Densifier(phantom.volume, SETTINGS)
    first = densifier.learn(labels)
    with pytest.raises(UsageError):
        densifier.learn(labels, replace(SETTINGS, device="cuda:99"))
    assert densifier.settings is SETTINGS
    assert densifier.learn(labels).steps == first.steps + round(AFTER_UPDATE * STEPS)


def test_other_slices_on_display_are_shown_first_in_the_next_preview(phantom, labels, monkeypatch):
    monkeypatch.setattr(pacer, "PREVIEW_SHARE", 1e9)  # one after each step
    looks = Board(((0, 10),))

    class Scrolls(Watch):
        def preview(self, result):
            super().preview(result)
            if len(self.previews) == 3:  # of the slices, and two of all
                looks.content = ((0, 12), (1, 9))

    events = Scrolls()
    densify(phantom.volume, labels, SETTINGS, Control(events=events, looks=looks))
    assert [one.planes for one in events.previews[:6]] == [(Plane(0, 10),), (), (), (Plane(0, 12), Plane(1, 9)), (), ()]


def test_what_the_user_scrolls_to_is_shown_at_once(phantom, labels, monkeypatch):
    monkeypatch.setattr(pacer, "PREVIEW_SHARE", 1e-9)  # a preview of all alone is the first
    looks = Board(((0, 10),))

    class Scrolls(Watch):
        def preview(self, result):
            super().preview(result)
            if not result.planes:
                looks.content = ((0, 12),)

    events = Scrolls()
    densify(phantom.volume, labels, SETTINGS, Control(events=events, looks=looks))
    assert [one.planes for one in events.previews] == [(Plane(0, 10),), (), (Plane(0, 12),)]


def test_saved_weights_predict_the_same_in_another_session(phantom, labels, more, tmp_path):
    densifier = Densifier(phantom.volume, SETTINGS, checkpoint=tmp_path / "checkpoint.pt")
    with pytest.raises(UsageError, match="Nothing was learned"):
        densifier.save_weights(tmp_path / "weights.pt")
    result = densifier.learn(labels)
    densifier.save_weights(tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").stat().st_size < (tmp_path / "checkpoint.pt").stat().st_size / 2
    problem = make_problem(phantom.volume, labels, SETTINGS.margin, SETTINGS.most_voxels)
    later = Round(problem, SETTINGS, Control(), tmp_path / "weights.pt", torch.device("cpu"))
    assert later.ensemble.steps == 0
    found = later.ensemble.predict(Request.whole(problem), CancelToken())
    found, _ = region_labels(problem, found, uncertainty=False)
    saved = result.labels[problem.box]
    assert ((found > 0) & (saved > 0)).sum() >= 0.999 * ((found > 0) | (saved > 0)).sum()
    events = Watch()
    Densifier(phantom.volume, SETTINGS, Control(events=events), tmp_path / "weights.pt").learn(more)
    assert "Starting from the weights of the last training." in events.messages


@pytest.mark.parametrize("preset", ["fast", "balanced", "thorough", "unet3d"])
def test_saved_weights_are_small_enough_for_a_scene(phantom, labels, preset, tmp_path):
    settings = DensifySettings(preset=preset, device="cpu")
    problem = make_problem(phantom.volume, labels, *settings.region_choice)
    ensemble = new_ensemble(problem, settings, torch.device("cpu"))
    many = torch.rand(2, 3_000_000)  # on the held-out slices of a large region
    ensemble.held_out = HeldOut(torch.ones(3_000_000, dtype=torch.uint8), {"slice-unet": many}, 4)
    save_checkpoint(tmp_path / "weights.pt", weights_of(problem, ensemble))
    assert (tmp_path / "weights.pt").stat().st_size < 5_500_000  # with a model to start from 2 MB more
    held_out = HeldOut.restored(load_checkpoint(tmp_path / "weights.pt")["ensemble"]["held_out"], 2)
    assert held_out.slices == 4
    assert held_out.found["slice-unet"].mean() == pytest.approx(0.5, abs=0.01)


def test_a_result_on_display_stays_while_nothing_new_is_annotated(phantom, labels, more, tmp_path, monkeypatch):
    densifier = Densifier(phantom.volume, SETTINGS)
    result = densifier.learn(labels)
    densifier.save_weights(tmp_path / "weights.pt")
    looks, updates = Board(((0, 10),)), Mailbox()
    shown = replace(SETTINGS, shown=result.annotation)
    for settings, annotation, previews in ((shown, labels, False), (shown, more, True), (SETTINGS, labels, True)):
        events = Watch()
        control = Control(events=events, looks=looks, updates=updates)
        later = Densifier(phantom.volume, settings, control, tmp_path / "weights.pt")
        later.learn(annotation)
        assert "Starting from the weights of the last training." in events.messages
        assert bool(events.previews) is previews
        events.previews.clear()
        again = later.learn(labels, shown)  # in the same session
        assert (events.previews, again.annotation) == ([], result.annotation)
    monkeypatch.setattr("SparseSegLib.densify.problem.SMALL_VOXELS", 0)
    later.learn(more, shown)
    assert {one.planes for one in events.previews} == {(Plane(0, 10),)}, "in a large region on the slices on display"
    monkeypatch.undo()
    events.previews.clear()
    updates.put(more)
    assert later.learn(labels, shown).annotation == more.digest
    assert events.previews, "what is drawn in the round is seen soon"
