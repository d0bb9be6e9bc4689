"""Large regions: what is seen and predicted part by part is what would be found at once."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from phantoms import blob

from SparseSegLib.annotation import UNLABELED, Plane, keep_planes, sparsify
from SparseSegLib.control import CancelSource, CancelToken, Control, NullEvents
from SparseSegLib.densify import DensifySettings, densify, part_prediction, parts, slice_dataset
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import Expert, ExtraTreesRecipe, Request, SliceUNetRecipe, UNet3DRecipe
from SparseSegLib.densify.part_prediction import PartPrediction, predict_coarsely
from SparseSegLib.densify.parts import boxes_around, divided, place_in, standing
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.slice_features import SliceFeatures
from SparseSegLib.densify.slicewise import SlicewisePredictor
from SparseSegLib.densify.voxel_features import VoxelFeatures
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.image.region_image import InMemory
from SparseSegLib.patches import SMALL_PATCHES
from SparseSegLib.prior import PRIOR_PARTS
from SparseSegLib.prior.gray_bins import _PartBins, _WholeBins

CPU = torch.device("cpu")
NARROW = (SliceUNetRecipe(widths=(4, 8), crop=32), ExtraTreesRecipe(trees=6))
QUICK = DensifySettings(budget_steps=6, device="cpu", experts=NARROW)
SIDE = 48


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(parts, "LONGEST_SIDE", 16)
    monkeypatch.setattr(parts, "SHORTEST_SIDE", 4)
    monkeypatch.setattr(parts, "ROOM", 4)
    monkeypatch.setattr(part_prediction, "SAMPLED_SIDE", 8)


@pytest.fixture(scope="module")
def case():
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))
    labels.array[2, 3:6, 4:9] = 0  # scribbles
    return phantom, labels


@pytest.fixture(scope="module")
def problem(case):
    phantom, labels = case
    return make_problem(phantom.volume, labels, 10.0, 2000)


@pytest.fixture(scope="module")
def whole(case):
    phantom, labels = case
    return make_problem(phantom.volume, labels, 10.0, 10**6)


def _box(*ends):
    return tuple(slice(*side) for side in ends)


def test_only_a_large_region_is_seen_in_parts(problem, whole):
    assert problem.in_parts
    assert not problem.is_small
    assert not whole.in_parts
    assert problem.factors == whole.factors == (1, 1, 1)
    assert np.prod(problem.coarse_step) == pytest.approx(64, rel=0.5)
    assert whole.coarse_step == (1, 1, 1)


@pytest.mark.parametrize("box", [_box((0, 6), (3, 12), (30, 40)), _box((8, 9), (0, 32), (0, 40))])
def test_features_of_a_part_are_those_of_the_whole(whole, box):
    places = tuple(range(side.start, side.stop) for side in box)
    expected = VoxelFeatures(whole.image, (2.0, 1.0, 1.0)).table(places)
    found = VoxelFeatures(whole.image, (2.0, 1.0, 1.0), box).table(places)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_channels_of_a_part_of_a_slice_are_a_part_of_those_of_the_slice(whole, axis):
    features = SliceFeatures(whole, PRIOR_PARTS, 2)
    box = _box((4, 18), (6, 20), (3, 30))
    view = features.view(axis, 9, box)
    keep = features.prior.without({0})
    expected = features.of(features.view(axis, 9), keep)[(slice(None), *view.window)]
    torch.testing.assert_close(features.of(view, keep), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_bins_of_a_part_are_those_of_the_whole(whole, axis):
    known, found = _WholeBins(whole.image, (1.0, 1.0, 1.0)), _PartBins(whole.image, (1.0, 1.0, 1.0))
    found._limits = [
        tuple((values.min(), values.max()) for values in (channel, channel)) for channel in whole.image.values
    ]
    view = SliceFeatures(whole, (), 1).view(axis, 7, _box((2, 19), (5, 30), (0, 21)))
    points = torch.tensor([[3, 7, 9], [3, 30, 0], [11, 8, 8], [19, 31, 39]])
    for own, other in ((known.cut(view), found.cut(view)), (known.at(points), found.at(points))):
        for expected, bins in zip(own[0], other[0], strict=True):
            assert np.corrcoef(expected.flatten(), bins.flatten())[0, 1] > 0.99


def _gray(inputs):
    own = inputs[:, 1:2]
    return torch.cat([-own, own], 1)


def test_slices_seen_in_parts_give_what_whole_slices_give(problem):
    predictor = SlicewisePredictor(SliceFeatures(problem, (), 1), _gray, 2, CPU)
    keep = predictor.features.prior.everything
    image = problem.image.part(Request.whole(problem).box)
    expected = torch.cat([-image, image]).softmax(0)
    box = _box((2, 15), (3, 19), (11, 40))
    found = predictor.predict(Request(box), keep, CancelToken())
    torch.testing.assert_close(found, expected[(slice(None), *box)])
    coarse = Request(box, step=(2, 4, 3))
    found = predictor.predict(coarse, keep, CancelToken())
    places = np.ix_(range(2), *coarse.places)
    torch.testing.assert_close(found, torch.from_numpy(expected.numpy()[places]))
    plane = Plane(1, 9)
    (found,) = predictor.predict_planes([plane], keep, CancelToken())
    torch.testing.assert_close(found, expected.select(2, 9))
    assert predictor.seconds(Request(box), keep) > predictor.seconds(coarse, keep) > 0


def test_training_sees_windows_of_long_slices(problem, monkeypatch):
    monkeypatch.setattr(slice_dataset, "WINDOW", 16)
    monkeypatch.setattr(slice_dataset, "KEPT_WINDOWS", 3)
    features = SliceFeatures(problem, ("distance",), 1)
    dataset = slice_dataset.SliceDataset(features, 2, frozenset(), CPU)
    assert dataset.size == (16, 16)
    rng = np.random.default_rng(0)
    for _ in range(8):
        inputs, labels = dataset.draw(4, 16, 0.0, rng)
        assert inputs.shape[-2:] == labels.shape[-2:] == (16, 16)
        assert (labels != UNLABELED).any()
    assert len(dataset._inputs) <= 3
    one = dataset.slices[0]
    view = features.window(one.view, (15.0, 30.0), 16)
    assert view.size == (16, 16)
    expected = dataset.features.of(one.view, dataset._keeps[0])[(slice(None), *view.window)]
    torch.testing.assert_close(dataset.inputs(0, view), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("step", [(1, 1, 1), (2, 4, 4), (1, 3, 5)])
def test_a_request_in_parts_is_for_the_same_places(step):
    request = Request(_box((0, 5), (3, 52), (0, 37)), 2, quick=True, step=step)
    seen = np.zeros(request.shape, int)
    for part in divided(request):
        assert max(side.stop - side.start for side in part.box) <= parts.LONGEST_SIDE + 2 * max(step)
        assert (part.stride, part.quick, part.step) == (2, True, step)
        at = place_in(part, request)
        seen[at] += 1
        for own, of_part, of_whole in zip(at, part.places, request.places, strict=True):
            assert list(of_whole)[own] == list(of_part)
    assert (seen == 1).all()


def test_a_coarse_prediction_stands_where_it_is_sure_and_its_neighbors_agree():
    structure = torch.zeros(9, 9, 9)
    structure[:, :, 5:] = 1
    structure[4, 4, 1] = 0.05
    stands = standing(torch.stack([1 - structure, structure]), 0.98)
    expected = np.ones((9, 9, 9), bool)
    expected[:, :, 4:6] = False
    expected[3:6, 3:6, 0:3] = False
    np.testing.assert_array_equal(stands, expected)


@dataclass
class _Grid:
    """What boxes need to know of a problem."""

    coarse_step: tuple[int, int, int]
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0))


def test_boxes_hold_what_is_undecided_and_little_else():
    class Labels:
        array = np.zeros((66, 64, 62), np.uint8)

    grid = _Grid((4, 4, 4), Labels)
    z, y, x = np.indices((16, 16, 15)) - 8
    shell = np.abs(np.sqrt(z**2 + y**2 + x**2) - 5) < 0.8
    shell[15, 15, 14] = True
    boxes = boxes_around(shell, grid)
    covered = np.zeros(Labels.array.shape, bool)
    for box in boxes:
        assert not covered[box].any()
        covered[box] = True
        assert max(side.stop - side.start for side in box) <= parts.LONGEST_SIDE + 4
    assert covered[65, 63, 61]
    for block in np.argwhere(shell):
        assert covered[tuple(slice(4 * low, 4 * low + 4) for low in block)].all()
    assert covered.mean() < 0.6
    assert boxes_around(np.zeros((16, 16, 15), bool), grid) == []


class MapExpert(Expert):
    """Predicts a label map, sure everywhere; coarsely another one. It keeps for which boxes it was asked closely."""

    def __init__(self, fine: np.ndarray, coarse: np.ndarray) -> None:
        self.maps = {True: torch.from_numpy(fine).long(), False: torch.from_numpy(coarse).long()}
        self.boxes = []

    def set_annotation(self, problem, hidden):
        """Keep the problem."""
        self.problem = problem

    def predict(self, request, token):
        """One for the map's class."""
        token.check()
        closely = request.step == (1, 1, 1)
        if closely:
            self.boxes.append(request.box)
        own = self.maps[closely][np.ix_(*request.places)]
        return torch.nn.functional.one_hot(own, 2).movedim(-1, 0).float()

    def seconds(self, request):
        """As many as voxels."""
        return float(np.prod(request.shape))


@dataclass(frozen=True, eq=False)
class MapRecipe:
    """A recipe from outside the package."""

    fine: np.ndarray = field(repr=False)
    coarse: np.ndarray = field(repr=False)
    name: ClassVar[str] = "map"
    prior_weight: float = 1.0
    warmup: int = 0

    def suits(self, problem, seconds, device):
        """Always."""
        return True

    def make(self, problem, seed, device):
        """The expert."""
        return MapExpert(self.fine, self.coarse)


class DearExpert(MapExpert):
    """One that takes ten times as long."""

    def seconds(self, request):
        """Ten times as many as voxels."""
        return 10 * super().seconds(request)


@dataclass(frozen=True, eq=False)
class OtherRecipe(MapRecipe):
    """A second one."""

    name: ClassVar[str] = "other"

    def make(self, problem, seed, device):
        """The expert, ten times as fast."""
        expert = MapExpert(self.fine, self.coarse)
        expert.seconds = lambda request: float(np.prod(request.shape)) / 10
        return expert


@dataclass(frozen=True, eq=False)
class DearRecipe(MapRecipe):
    """One that takes long."""

    name: ClassVar[str] = "dear"

    def make(self, problem, seed, device):
        """The expert."""
        return DearExpert(self.fine, self.coarse)


@pytest.fixture(scope="module")
def ball():
    z, y, x = np.indices((SIDE,) * 3) - SIDE / 2 + 0.5
    truth = (np.sqrt(z**2 + y**2 + x**2) < 14).astype(np.uint8)
    geometry = Geometry.identity(truth.shape)
    labels = keep_planes(truth, geometry, [Plane(axis, SIDE // 2) for axis in range(3)])
    image = truth[None] + np.random.default_rng(0).normal(0, 0.1, (1, *truth.shape)).astype(np.float32)
    return truth, make_problem(Volume(image, geometry), labels, 10.0, 20_000)


def _predicted(ball, coarse, token=None, within=None, hurry=None):
    truth, problem = ball
    ensemble = Ensemble(problem, [MapRecipe(truth, coarse)], 0, CPU)
    heard = []
    prediction = PartPrediction(problem, ensemble, token or CancelToken(), within, heard.append)
    found = prediction.found(hurry=hurry)
    return found, ensemble.members[0].expert.boxes, heard


def test_only_the_surface_is_looked_at_closely_and_the_result_is_that_of_a_close_look(ball):
    truth, _ = ball
    found, boxes, heard = _predicted(ball, truth)
    np.testing.assert_array_equal(found.labels, truth)
    looked = sum(int(np.prod([side.stop - side.start for side in box])) for box in boxes)
    assert 0.05 < looked / truth.size < 0.75
    assert heard[0] > 0
    assert heard[-1] == 0
    assert (found.uncertainty == 0).mean() > 0.75


def test_samples_find_that_what_is_thin_was_missed(ball):
    truth, problem = ball
    fine = truth.copy()
    fine[::4] = 1  # lines that no coarse prediction sees
    ensemble = Ensemble(problem, [MapRecipe(fine, truth)], 0, CPU)
    found = PartPrediction(problem, ensemble, CancelToken()).found()
    unseen = ~problem.labels.labeled
    assert (found.labels == fine)[unseen].all()


def test_who_stops_gets_what_was_not_looked_at_as_it_is_seen_coarsely(ball):
    truth, _ = ball
    source = CancelSource()
    source.stop()
    found, boxes, _ = _predicted(ball, truth, source.token)
    assert boxes == []
    assert iou(found.labels == 1, truth == 1) > 0.8
    for quickly in ({"hurry": 1.0}, {"within": 0.0}):
        found, boxes, _ = _predicted(ball, truth, **quickly)
        assert boxes == []
        assert iou(found.labels == 1, truth == 1) > 0.8


def test_what_is_no_quicker_coarsely_is_looked_at_closely_at_once(ball, monkeypatch):
    truth, _ = ball
    monkeypatch.setattr(MapExpert, "seconds", lambda self, request: 1.0)
    found, boxes, _ = _predicted(ball, np.zeros_like(truth))
    np.testing.assert_array_equal(found.labels, truth)
    assert sum(int(np.prod([side.stop - side.start for side in box])) for box in boxes) == truth.size


def test_the_forest_keeps_its_coarse_predictions_alone(problem):
    ensemble = Ensemble(problem, [ExtraTreesRecipe(trees=4)], 0, CPU)
    (member,) = ensemble.members
    request = Request.whole(problem, 2, quick=True, step=problem.coarse_step)
    first = predict_coarsely(ensemble, request, CancelToken())
    kept = list(member.kept)
    assert len(kept) == len(divided(request))
    ensemble.predict(Request(_box((0, 5), (0, 5), (0, 5))), CancelToken())
    assert member.kept == kept
    torch.testing.assert_close(predict_coarsely(ensemble, request, CancelToken()), first, atol=1e-3, rtol=0)


class Listener(NullEvents):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.figures, self.messages, self.previews = [], [], []

    def progress(self, step, fraction, loss, seconds_left, **figures):
        """Keep the figures."""
        self.figures.append((fraction, seconds_left, figures))

    def message(self, text):
        """Keep the text."""
        self.messages.append(text)

    def preview(self, result):
        """Keep the preview."""
        self.previews.append(result)


def test_a_large_region_from_end_to_end(case, monkeypatch):
    monkeypatch.setattr("SparseSegLib.training.loop.REPORT_SECONDS", 0.0)
    monkeypatch.setattr(DensifySettings, "most_voxels", property(lambda self: 4000))
    phantom, labels = case
    events = Listener()
    result = densify(phantom.volume, labels, QUICK, Control(events=events))
    assert result.labels.shape == result.uncertainty.shape == phantom.labels.shape
    assert result.uncertainty.dtype == np.uint8
    assert (result.uncertainty[labels.labeled] == 0).all()
    assert (result.labels[labels.labeled] == labels.array[labels.labeled]).all()
    assert iou(result.labels == 1, phantom.labels == 1) > 0.85
    assert 0.5 < result.estimate <= 1
    assert result.next_slice is not None
    assert any("full resolution" in text for text in events.messages)
    announced = [
        (fraction, left, own["result_seconds"]) for fraction, left, own in events.figures if own.get("result_seconds")
    ]
    assert announced
    assert all(0 <= fraction <= 1 and left >= after for fraction, left, after in announced if left is not None)
    shape = events.previews[0].labels.shape
    assert shape == events.previews[0].geometry.shape
    box = make_problem(phantom.volume, labels, 0.1, 10**6).box
    assert iou(events.previews[-1].labels == 1, phantom.labels[box] == 1) > 0.3


def test_a_large_region_at_a_coarser_grid(case, monkeypatch):
    monkeypatch.setattr(DensifySettings, "most_voxels", property(lambda self: 600))
    phantom, labels = case
    result = densify(phantom.volume, labels, replace(QUICK, coarser=2, budget_steps=2))
    assert result.labels.shape == phantom.labels.shape
    assert iou(result.labels == 1, phantom.labels == 1) > 0.7


def test_a_3d_network_learns_and_predicts_a_large_region(problem):
    recipe = UNet3DRecipe(replace(SMALL_PATCHES, patch=(8, 16, 16)))
    expert = recipe.make(problem, 0, CPU)
    expert.set_annotation(problem, frozenset())
    assert expert.step(1.0) > 0
    image, labels = expert.draw()
    assert image.shape[2:] == labels.shape[1:] == (8, 16, 16)
    box = _box((0, 9), (4, 20), (0, 12))
    assert expert.predict(Request(box), CancelToken()).shape == (2, 9, 16, 12)
    assert expert.predict(Request(box, step=(2, 4, 4)), CancelToken()).shape == (2, 4, 4, 3)
    assert expert.steps == 1


def test_gray_values_in_memory_are_taken_as_they_are(whole):
    assert isinstance(whole.image, InMemory)
    assert whole.image.part(Request.whole(whole).box).data_ptr() == whole.image.values.data_ptr()


def test_an_expert_that_is_dear_for_its_weight_is_left_out_of_a_large_prediction(ball):
    truth, problem = ball
    usual = MapRecipe(truth, truth)
    dear = DearRecipe(truth, truth, prior_weight=0.1)
    ensemble = Ensemble(problem, [usual, dear], 0, CPU)
    request = [Request.whole(problem)]
    assert [member.name for member in ensemble.affordable(request, None)] == ["map"]
    cheap = Ensemble(problem, [usual, OtherRecipe(truth, truth, prior_weight=0.1)], 0, CPU)
    assert [member.name for member in cheap.affordable(request, None)] == ["map", "other"]
