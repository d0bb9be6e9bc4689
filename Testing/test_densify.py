"""Densify, from end to end on small phantoms, with budgets in steps so that results are repeatable."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import GEOMETRIES, blob, multi_class, pieces
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, keep_planes, sparsify
from SparseSegLib.control import CancelSource, Control, Mailbox, NullEvents
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import ExtraTreesRecipe, PretrainedRecipe, SliceUNetRecipe, UNet3DRecipe
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.region import region_of_interest
from SparseSegLib.errors import AnnotationError, Canceled, GeometryError, UsageError, VolumeError
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.image.coarse import coarsening
from SparseSegLib.patches import SMALL_PATCHES

STEPS = 40
CPU = torch.device("cpu")
NARROW = (SliceUNetRecipe(widths=(8, 16), crop=48), ExtraTreesRecipe(trees=10))
UNET3D = (UNet3DRecipe(replace(SMALL_PATCHES, patch=(16, 24, 24))),)
QUICK = DensifySettings(budget_steps=STEPS, device="cpu", preview_seconds=0.1, experts=NARROW)


class Listener(NullEvents):
    """Keeps what it hears, and does something at a step."""

    def __init__(self, at: int = -1, action=lambda: None) -> None:
        self.steps, self.previews, self.messages = [], [], []
        self.at, self.action = at, action

    def progress(self, step, fraction, loss, seconds_left, **figures):
        """Keep the step."""
        self.steps.append(step)
        if step >= self.at >= 0:
            self.at = -1
            self.action()

    def preview(self, result):
        """Keep the preview."""
        self.previews.append(result)

    def message(self, text):
        """Keep the text."""
        self.messages.append(text)


@pytest.fixture(autouse=True)
def _report_every_step(monkeypatch):
    monkeypatch.setattr("SparseSegLib.training.loop.REPORT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def case():
    phantom = blob(Geometry.identity((32, 36, 40)), noise=0.15)
    return phantom, sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2), names=("blob",))


def test_a_few_slices_become_a_dense_segmentation_and_the_users_labels_win(case):
    phantom, labels = case
    wrong = replace(labels, array=labels.array.copy())
    wrong.array[labels.planes[0].index, 2:4, 2:4] = 1
    events = Listener()
    settings = replace(QUICK, experts=(*NARROW, PretrainedRecipe()))
    result = densify(phantom.volume, wrong, settings, Control(events=events))
    unseen = ~labels.labeled
    assert iou((result.labels == 1) & unseen, (phantom.labels == 1) & unseen) > 0.85
    assert (result.labels[~unseen] == wrong.array[~unseen]).all()
    assert result.labels.shape == result.uncertainty.shape == phantom.labels.shape
    assert result.uncertainty.min() >= 0
    assert result.uncertainty.max() <= 1
    assert (result.uncertainty[~unseen] == 0).all()
    assert 0.3 < result.estimate <= 1
    assert result.next_slice is not None
    assert result.next_slice not in labels.planes
    assert result.steps == STEPS
    assert events.steps == sorted(events.steps)
    preview = events.previews[0]
    assert preview.labels.shape == preview.geometry.shape
    assert preview.uncertainty is None
    box = make_problem(phantom.volume, wrong, QUICK.margin, 10**6).box
    assert iou(preview.labels == 1, phantom.labels[box] == 1) > 0.7


def test_a_budget_that_the_preparation_uses_up_gives_what_needs_no_training(case):
    phantom, labels = case
    events = Listener()
    settings = replace(QUICK, budget_steps=None, budget_seconds=1e-3)
    result = densify(phantom.volume, labels, settings, Control(events=events))
    assert result.steps == 1
    assert len(events.previews) == 1
    assert iou(result.labels == 1, phantom.labels == 1) > 0.7


@pytest.mark.parametrize("geometry", ["anisotropic", "flipped", "oblique"])
def test_several_classes_in_any_geometry(geometry):
    phantom = multi_class(GEOMETRIES[geometry])
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3))
    result = densify(phantom.volume, labels, replace(QUICK, budget_steps=70))
    for label in (1, 2):
        assert iou(result.labels == label, phantom.labels == label) > 0.6
    assert result.geometry == phantom.volume.geometry


@pytest.mark.parametrize("experts", [NARROW, UNET3D])
def test_the_same_seed_gives_the_same_result(case, experts):
    phantom, labels = case
    settings = replace(QUICK, experts=experts, budget_steps=6)
    first, second, other = (
        densify(phantom.volume, labels, chosen) for chosen in (settings, settings, replace(settings, seed=1))
    )
    np.testing.assert_array_equal(first.uncertainty, second.uncertainty)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert not np.array_equal(first.uncertainty, other.uncertainty)


@pytest.mark.parametrize("experts", [NARROW, UNET3D])
def test_what_lies_under_unlabeled_voxels_changes_nothing(case, experts):
    """The values of an image's dense labels off the annotation do not reach the training, bit for bit."""
    phantom, labels = case
    dense = phantom.labels.copy()
    dense[~labels.labeled] = 1 - dense[~labels.labeled]
    other = replace(sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2), names=("blob",)))
    other = replace(other, array=np.where(labels.labeled, dense, UNLABELED).astype(np.uint8))
    settings = replace(QUICK, experts=experts)
    trained = []
    for version in (labels, other):
        ensemble = Ensemble(make_problem(phantom.volume, version, 0.1, 10**6), settings.recipes, 0, CPU)
        for _ in range(4):
            ensemble.step(1.0)
        states = ensemble.state_dict()["experts"].values()
        trained.append([weights for state in states for weights in state["network"].values()])
    assert trained[0]
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True))


def test_a_killed_training_resumes_to_the_same_result(case, tmp_path):
    phantom, labels = case
    settings = replace(QUICK, budget_steps=30, checkpoint_seconds=0.0)
    whole = densify(phantom.volume, labels, settings)
    source = CancelSource()
    control = Control(token=source.token, events=Listener(17, source.cancel))
    with pytest.raises(Canceled):
        densify(phantom.volume, labels, settings, control, tmp_path / "c.pt")
    events = Listener()
    resumed = densify(phantom.volume, labels, settings, Control(events=events), tmp_path / "c.pt")
    assert "Going on after" in events.messages[0]
    assert events.steps[0] >= 17
    np.testing.assert_array_equal(whole.uncertainty, resumed.uncertainty)


def test_a_second_run_with_more_annotation_starts_warm(case, tmp_path):
    phantom, labels = case
    image_only = replace(QUICK, experts=(replace(NARROW[0], prior=()),))  # else the annotation does it all
    densify(phantom.volume, labels, image_only, checkpoint=tmp_path / "c.pt")
    more = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3), names=("blob",))
    short = replace(image_only, budget_steps=6)
    events = Listener()
    warm = densify(phantom.volume, more, short, Control(events=events), tmp_path / "c.pt")
    cold = densify(phantom.volume, more, short)
    assert "weights of the last training" in events.messages[0]
    assert iou(warm.labels == 1, phantom.labels == 1) > iou(cold.labels == 1, phantom.labels == 1)


def test_a_warm_start_is_not_judged_by_slices_that_it_learned_from(case, tmp_path, monkeypatch):
    phantom, labels = case
    hidden, fit_weights = [], Ensemble.fit_weights

    def spy(ensemble, token):
        hidden.append(ensemble.hidden)
        fit_weights(ensemble, token)

    monkeypatch.setattr(Ensemble, "fit_weights", spy)
    first = densify(phantom.volume, labels, QUICK, checkpoint=tmp_path / "c.pt")
    assert hidden.pop()
    again = densify(phantom.volume, labels, replace(QUICK, budget_steps=6), checkpoint=tmp_path / "c.pt")
    assert again.estimate == pytest.approx(first.estimate, abs=0.02)  # what was found on held-out slices holds
    assert not hidden
    new = next(Plane(0, index) for index in (18, 19) if Plane(0, index) not in labels.planes)
    array = labels.array.copy()
    array[new.index] = phantom.labels[new.index]
    more = replace(labels, array=array, planes=(*labels.planes, new))
    result = densify(phantom.volume, more, replace(QUICK, budget_steps=6), checkpoint=tmp_path / "c.pt")
    problem = make_problem(phantom.volume, more, QUICK.margin, QUICK.most_voxels)
    assert hidden == [{problem.on_working_grid(new)}]
    assert 0 < result.estimate < 1


def test_a_new_annotation_goes_into_the_running_training(case):
    phantom, labels = case
    updates = Mailbox()
    more = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3), names=("blob",))
    events = Listener(10, lambda: updates.put(more))
    result = densify(phantom.volume, labels, QUICK, Control(events=events, updates=updates))
    assert any(str(len(more.planes)) in text for text in events.messages)
    assert (result.labels[more.labeled] == more.array[more.labeled]).all()


def test_new_annotation_near_the_end_extends_the_budget(case):
    phantom, labels = case
    updates = Mailbox()
    more = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3), names=("blob",))
    events = Listener(STEPS - 6, lambda: updates.put(more))
    result = densify(phantom.volume, labels, QUICK, Control(events=events, updates=updates))
    assert result.steps >= round((STEPS - 6) / 0.6)


def _second_run(case, tmp_path, volume=None, labels=None, settings=QUICK):
    """The message of a run that finds the checkpoint of an unfinished one."""
    phantom, drawn = case
    source = CancelSource()
    control = Control(token=source.token, events=Listener(3, source.cancel))
    short = replace(QUICK, budget_steps=5, checkpoint_seconds=0.0)
    with pytest.raises(Canceled):
        densify(phantom.volume, drawn, short, control, tmp_path / "c.pt")
    events = Listener()
    settings = replace(settings, budget_steps=5, checkpoint_seconds=0.0)
    densify(volume or phantom.volume, labels or drawn, settings, Control(events=events), tmp_path / "c.pt")
    return events.messages[0]


def test_only_the_same_image_annotation_and_settings_are_gone_on_with(case, tmp_path):
    phantom, labels = case
    assert "Going on" in _second_run(case, tmp_path)
    image = phantom.volume.array.copy()
    image[0, 16, 18, 20] += 1
    other = Volume(image, phantom.volume.geometry)
    assert "Starting from the weights" in _second_run(case, tmp_path, volume=other)
    array = labels.array.copy()
    array[labels.planes[0].index, 2, 2] = 1
    assert "Starting from the weights" in _second_run(case, tmp_path, labels=replace(labels, array=array))
    assert "Starting from the weights" in _second_run(case, tmp_path, settings=replace(QUICK, seed=1))


def test_after_other_classes_came_the_estimate_is_of_what_was_learned_since(case):
    """The new network is not judged before it has learned anything."""
    phantom, labels = case
    updates = Mailbox()
    second = labels.array.copy()
    second[labels.planes[0].index, 2:5, 2:5] = 2
    more = replace(labels, array=second, names=("blob", "corner"))
    events = Listener(STEPS - 6, lambda: updates.put(more))
    result = densify(phantom.volume, labels, QUICK, Control(events=events, updates=updates))
    assert any("other classes" in text for text in events.messages)
    assert result.steps >= STEPS // 2
    assert set(np.unique(result.labels)) == {0, 1, 2}


def test_stop_finishes_with_what_there_is(case):
    phantom, labels = case
    source = CancelSource()
    result = densify(phantom.volume, labels, QUICK, Control(token=source.token, events=Listener(12, source.stop)))
    assert 12 <= result.steps < STEPS
    assert result.uncertainty is not None


def test_scribbles_and_one_orientation_are_enough(case):
    phantom, _ = case
    labels = sparsify(phantom.labels, phantom.volume.geometry, (4, 0, 0))
    array = labels.array.copy()
    array[16, 17:19, 18:22] = phantom.labels[16, 17:19, 18:22]
    array[2, 2:5, 2:5] = 0
    result = densify(phantom.volume, replace(labels, array=array), QUICK)
    assert iou(result.labels == 1, phantom.labels == 1) > 0.75


@pytest.mark.parametrize(("experts", "steps"), [(NARROW, 0), (UNET3D, 1)])
def test_the_first_preview_waits_for_no_step_where_an_expert_needs_none(case, experts, steps):
    phantom, labels = case
    events = Listener()
    densify(phantom.volume, labels, replace(QUICK, experts=experts, budget_steps=3), Control(events=events))
    assert events.previews[0].steps == steps


def test_several_pieces_some_of_them_at_the_border():
    phantom = pieces()
    planes = [Plane(0, 2), Plane(0, 12), Plane(0, 20), Plane(1, 4), Plane(1, 12), Plane(1, 26), Plane(2, 20)]
    labels = keep_planes(phantom.labels, phantom.volume.geometry, planes)
    result = densify(phantom.volume, labels, QUICK)
    unseen, (numbers, count) = ~labels.labeled, ndimage.label(phantom.labels)
    assert count == 3
    assert iou((result.labels == 1) & unseen, (phantom.labels == 1) & unseen) > 0.8
    for number in range(1, count + 1):
        assert ((result.labels == 1) & (numbers == number) & unseen).sum() > 0.8 * ((numbers == number) & unseen).sum()
    for end in ((0,), (-1,), (slice(None), 0), (slice(None), slice(None), -1)):
        assert iou(result.labels[end] == 1, phantom.labels[end] == 1) > 0.7


def test_a_region_is_worked_on_at_a_coarser_grid_where_that_is_wanted(case):
    phantom, labels = case
    problem = make_problem(phantom.volume, labels, 0.1, 10**6, None, 2)
    assert max(problem.factors) == 2
    assert len(problem.labels.planes) == len(labels.planes)
    result = densify(phantom.volume, labels, replace(QUICK, coarser=2))
    assert result.labels.shape == phantom.labels.shape
    assert iou(result.labels == 1, phantom.labels == 1) > 0.75


@pytest.mark.parametrize("parts", [(), ("distance",), ("coordinates", "appearance")])
def test_parts_of_the_prior_can_be_switched_off(case, parts):
    phantom, labels = case
    result = densify(phantom.volume, labels, replace(QUICK, prior=parts, budget_steps=4))
    assert result.steps == 4


@pytest.mark.parametrize("network", ["resunet-se-small", "segresnet-vae-small", "unet2d-slices"])
def test_other_networks_can_be_trained_on_the_slices(case, network):
    phantom, labels = case
    result = densify(phantom.volume, labels, DensifySettings(network=network, budget_steps=1, device="cpu"))
    assert result.labels.shape == phantom.labels.shape
    assert (result.labels[labels.labeled] == labels.array[labels.labeled]).all()
    assert 0 < result.uncertainty.mean() < 1


def test_a_network_of_ones_own_sees_regions_as_large_as_the_preset_unet3d_does():
    chosen, usual = DensifySettings(network="vnet-small"), DensifySettings("unet3d")
    assert chosen.most_voxels == usual.most_voxels > DensifySettings().most_voxels


@pytest.mark.parametrize(("network", "why"), [("cicek2016", "not padded"), ("unet2d", "3D network"), ("x", "called x")])
def test_networks_that_cannot_are_refused(case, network, why):
    phantom, labels = case
    with pytest.raises(UsageError, match=why):
        densify(phantom.volume, labels, DensifySettings(network=network, budget_steps=1, device="cpu"))


def test_several_channels(case):
    phantom, labels = case
    second = np.random.default_rng(1).normal(size=phantom.labels.shape).astype(np.float32)
    volume = Volume(np.stack([second, phantom.volume.array[0]]), phantom.volume.geometry)
    result = densify(volume, labels, replace(QUICK, budget_steps=120, estimate=False))
    assert iou(result.labels == 1, phantom.labels == 1) > 0.75


def test_a_budget_in_seconds_ends_in_time(case, monkeypatch):
    phantom, labels = case
    now = [100.0]  # and every step takes a quarter of a second
    monkeypatch.setattr("SparseSegLib.training.budget.time.monotonic", lambda: now[0])
    listener = Listener()
    listener.progress = lambda *_, **__: now.append(now.pop() + 0.25)
    result = densify(
        phantom.volume, labels, replace(QUICK, budget_steps=None, budget_seconds=3), Control(events=listener)
    )
    assert 2 < result.seconds <= 3


def test_bad_input_is_refused_with_a_hint(case):
    phantom, labels = case
    broken = phantom.volume.array.copy()
    broken[0, 3, 3, 3] = np.nan
    empty = replace(labels, array=np.full_like(labels.array, UNLABELED), planes=())
    elsewhere = replace(labels, geometry=Geometry.identity(labels.array.shape, (1, 1, 2)))
    for volume, drawn, kind in (
        (Volume(broken, phantom.volume.geometry), labels, VolumeError),
        (Volume(np.zeros_like(broken), phantom.volume.geometry), labels, VolumeError),
        (phantom.volume, empty, AnnotationError),
        (phantom.volume, elsewhere, GeometryError),
    ):
        with pytest.raises(kind) as caught:
            densify(volume, drawn, QUICK)
        assert caught.value.hint
    for wrong in (
        {"preset": "best"},
        {"budget_seconds": 0},
        {"prior": ("magic",)},
        {"margin": -1},
        {"coarser": 0.5},
        {"budget_counts": "all"},
    ):
        with pytest.raises(UsageError):
            DensifySettings(**wrong)


def test_the_region_has_room_where_nothing_bounds_the_object():
    truth = np.zeros((60, 50, 50), np.uint8)
    truth[10:50, 20:30, 20:30] = 1
    geometry = Geometry.identity(truth.shape)
    axial = sparsify(truth, geometry, (2, 0, 0))
    assert region_of_interest(axial)[0].start == axial.planes[0].index - 6
    everywhere = region_of_interest(sparsify(truth, geometry, (2, 1, 1)))
    assert everywhere[0] == slice(6, 54)
    assert everywhere[1] == slice(16, 34)
    truth[:, 15:35] = truth[:, 20:30].any(1, keepdims=True)
    single = region_of_interest(keep_planes(truth, geometry, [Plane(0, 30)]))
    assert single == (slice(15, 46), slice(11, 39), slice(16, 34))


def test_the_finest_axis_is_made_coarser_first():
    assert coarsening((20, 400, 400), (3.0, 0.5, 0.5), 10**6) == (1, 2, 2)
    assert coarsening((20, 40, 40), (3.0, 0.5, 0.5), 10**6) == (1, 1, 1)


@pytest.mark.parametrize("counts", [(1, 0, 0), (0, 0, 0)])
def test_one_slice_or_scribbles_alone_are_enough_to_start(case, counts):
    """Left out, a single source leaves nothing that a prior could know."""
    phantom, _ = case
    labels = sparsify(phantom.labels, phantom.volume.geometry, counts, names=("blob",)) if any(counts) else None
    if labels is None:
        array = np.full(phantom.labels.shape, UNLABELED, np.uint8)
        middle = phantom.labels.shape[0] // 2
        array[middle - 1 : middle + 1, ::3, ::3] = phantom.labels[middle - 1 : middle + 1, ::3, ::3]
        labels = SparseLabels(array, phantom.volume.geometry, (), ("blob",))
    result = densify(phantom.volume, labels, QUICK)
    assert iou(result.labels == 1, phantom.labels == 1) > 0.3
