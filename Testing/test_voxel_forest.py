"""The forest on gray values: its features, what it learns, and its share in what is predicted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from opinions import opinions_on_a_slice
from phantoms import blob
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, keep_planes, sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import forest_opinion, voxel_forest
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.settings import ALL_PARTS, SliceRecipe
from SparseSegLib.densify.slice_learner import SliceLearner
from SparseSegLib.densify.voxel_forest import VoxelForest, _eigenvalues, _Level, _slices, _smooth
from SparseSegLib.image import Geometry

SHAPE = (12, 20, 24)
SPACING = (1.0, 1.0, 1.0)


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _textures() -> tuple[torch.Tensor, np.ndarray]:
    """An image whose left half is noise voxel by voxel and whose right half is smooth, of the same gray values."""
    fine, coarse = _noise(*SHAPE), torch.from_numpy(ndimage.gaussian_filter(_noise(*SHAPE).numpy(), 2.0))
    truth = np.zeros(SHAPE, np.uint8)
    truth[..., SHAPE[2] // 2 :] = 1
    return torch.where(torch.from_numpy(truth) > 0, coarse / coarse.std(), fine)[None], truth


def _labels(dense: np.ndarray, *planes: Plane) -> SparseLabels:
    return keep_planes(dense, Geometry.identity(dense.shape), planes)


def test_eigenvalues_are_those_of_the_matrices():
    matrices = _noise(500, 3, 3)
    matrices = matrices + matrices.mT
    straight = [matrices[:, axis, axis] for axis in range(3)]
    mixed = [matrices[:, one, other] for one, other in ((0, 1), (0, 2), (1, 2))]
    found = torch.stack(_eigenvalues(straight, mixed), 1)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(matrices).flip(1), atol=1e-4, rtol=1e-4)


def test_no_contrast_gives_no_nan():
    assert all(bool((value == 0).all()) for value in _eigenvalues([torch.zeros(4)] * 3, [torch.zeros(4)] * 3))


@pytest.mark.parametrize("deviations", [[1.0, 1.0, 1.0], [0.3, 2.0, 2.0], [4.0, 4.0, 4.0], [2.0, 8.0, 8.0]])
def test_smoothing_is_a_gaussian_even_by_way_of_a_coarser_grid(deviations):
    image = torch.from_numpy(ndimage.gaussian_filter(_noise(1, 30, 41, 50).numpy(), (0, 1, 1, 1), mode="nearest"))
    found = _smooth(image, deviations)
    expected = ndimage.gaussian_filter(image.numpy(), (0, *deviations), mode="nearest")
    assert found.shape == image.shape
    assert np.corrcoef(found.numpy().ravel(), expected.ravel())[0, 1] > 0.95
    assert found.std() == pytest.approx(expected.std(), rel=0.2)


def test_derivatives_of_a_paraboloid():
    z, y, x = torch.meshgrid(*[torch.arange(9.0) - 4] * 3, indexing="ij")
    image = (z**2 + 2 * y**2 + 3 * x**2)[None]
    middle = tuple(range(index, index + 1) for index in (4, 5, 4))
    value, gradient, *eigenvalues = (float(part) for part in _Level.of(image, (1, 1, 1)).features(middle))
    assert (value, gradient) == (2.0, 4.0)
    assert eigenvalues == pytest.approx([6.0, 4.0, 2.0], abs=1e-4)


def test_it_tells_textures_apart_that_no_gray_value_does():
    image, truth = _textures()
    forest = VoxelForest(image, SPACING, 2, seed=0)
    labels = _labels(truth, Plane(0, 5), Plane(1, 10))
    forest.learn(labels)
    found = forest.everywhere(CancelToken()).float()
    unseen = labels.array == UNLABELED
    assert (found.argmax(0).numpy() == truth)[unseen].mean() > 0.85
    torch.testing.assert_close(found.sum(0), torch.ones(SHAPE), atol=2e-3, rtol=0)


def test_slices_of_any_orientation_are_those_of_the_whole():
    image, truth = _textures()
    forest = VoxelForest(image, (3.0, 1.0, 1.0), 2, seed=0)
    forest.learn(_labels(truth, Plane(0, 5)))
    whole = forest.everywhere(CancelToken()).float()
    for axis, index in ((0, 3), (1, 7), (2, 11)):
        found = forest.slices(axis, range(index, index + 1)).select(1 + axis, 0)
        torch.testing.assert_close(found, whole.select(1 + axis, index), atol=1e-3, rtol=0)


def test_scribbles_teach_it_too_and_a_class_that_is_not_drawn_is_never_found():
    image, truth = _textures()
    array = np.full(SHAPE, UNLABELED, np.uint8)
    array[3, 4:9, 2:6], array[8, 4:9, 16:20] = 0, 2
    forest = VoxelForest(image, SPACING, 3, seed=0)
    forest.learn(SparseLabels(array, Geometry.identity(SHAPE), (), ("a", "b")))
    found = forest.everywhere(CancelToken())
    assert not found[1].any()
    assert (found.argmax(0).numpy() == 2 * truth).mean() > 0.7


def test_the_table_of_some_slices_has_a_row_for_each_voxel_and_five_columns_a_scale():
    forest = VoxelForest(torch.cat([_noise(1, *SHAPE)] * 2), SPACING, 2, seed=0)
    table = forest._table(_slices(SHAPE, 1, range(2, 4)))
    assert table.shape == (SHAPE[0] * 2 * SHAPE[2], 2 * 5 * len(voxel_forest.SCALES))


@pytest.fixture
def learner():
    """One that has learned nothing yet and holds slices out."""
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3))
    problem = make_problem(phantom.volume, labels, 0.1, 1_000_000)
    recipe = SliceRecipe(widths=(4, 8), pretrained=False)
    return SliceLearner(problem, recipe, ALL_PARTS, 0, torch.device("cpu"), estimate=True)


def test_what_is_drawn_on_held_out_slices_does_not_reach_the_forest(learner):
    assert learner.bank.held_out
    learner.ask_forest(CancelToken())
    before = learner.forest.everywhere
    (plane, *_), labels = learner.held_out_planes(), learner.problem.labels
    others = np.zeros(labels.array.shape, bool)
    for other in labels.planes:
        if other != plane:
            others[other.voxels] = True
    array = labels.array.copy()
    array[plane.voxels] = np.where(others[plane.voxels], array[plane.voxels], 1 - array[plane.voxels])
    changed = replace(learner.problem, labels=replace(labels, array=array))
    held_out = learner.bank.held_out
    learner.replace(changed)
    learner.hold_out(held_out)
    learner.ask_forest(CancelToken())
    assert learner.forest.everywhere is not before
    assert torch.equal(learner.forest.everywhere, before)
    learner.hold_out(frozenset())
    learner.ask_forest(CancelToken())
    assert not torch.equal(learner.forest.everywhere, before)


def test_a_forest_is_not_taught_again_where_that_takes_too_long_unless_it_knows_too_much(learner):
    held_out = learner.bank.held_out
    learner.ask_forest(CancelToken())
    hidden = learner.forest.everywhere
    learner.hold_out(frozenset())
    learner.ask_forest(CancelToken(), most_seconds=0.0)
    assert torch.equal(learner.forest.everywhere, hidden)
    learner.hold_out(frozenset())
    learner.ask_forest(CancelToken())
    everything = learner.forest.everywhere
    assert not torch.equal(everything, hidden)
    learner.hold_out(held_out)
    learner.ask_forest(CancelToken(), most_seconds=0.0)
    assert torch.equal(learner.forest.everywhere, hidden)


def test_it_has_its_share_once_it_was_asked_and_none_where_the_recipe_does_without(learner):
    alone = learner.predict(CancelToken(), guess=False)
    learner.ask_forest(CancelToken())
    opinion = learner.forest.everywhere.float()
    expected = torch.lerp(alone, opinion, learner.forest.share)
    torch.testing.assert_close(learner.predict(CancelToken(), guess=False), expected)
    learner.forest = None
    learner.ask_forest(CancelToken())
    torch.testing.assert_close(learner.predict(CancelToken(), guess=False), alone)


@pytest.mark.parametrize(
    ("right", "expected", "better"),
    [
        (0.70, forest_opinion.FAR_WORSE, False),
        (0.80, forest_opinion.WORSE, False),
        (0.92, forest_opinion.BETTER, True),
        (0.99, forest_opinion.FAR_BETTER, True),
    ],
)
def test_held_out_slices_decide_on_its_share(learner, right, expected, better):
    """``right`` is how much of the object it finds, where the network finds 90 of 100 pixels."""
    learner.forest.weigh([opinions_on_a_slice(0.9, right)])
    assert learner.forest.share == expected
    assert learner.forest.is_better == better
    assert learner.state()["forest_share"] == expected


def test_before_the_training_it_has_the_share_that_fits_beside_what_speaks_then(learner):
    forest = learner.forest
    assert forest.share_after(0, much_is_labeled=False) == forest.share == forest_opinion.WORSE
    assert forest.share_after(0, much_is_labeled=True) == 1
    forest.weigh_first([opinions_on_a_slice(0.9, 0.7)])
    shares = [forest.share_after(steps, much_is_labeled=True) for steps in (0, 30, 60, 1000)]
    assert shares == pytest.approx([forest_opinion.FAR_WORSE, 0.3, forest_opinion.WORSE, forest_opinion.WORSE])
    assert forest.share == forest_opinion.WORSE
    state = learner.state()
    forest.first_share = None
    learner.restore(state)
    assert forest.first_share == forest_opinion.FAR_WORSE
    forest.meet(learner.problem)
    assert forest.share_after(0, much_is_labeled=False) == forest_opinion.WORSE


def test_the_first_preview_of_a_small_region_has_the_forest_in_it(learner, monkeypatch):
    """Weighed against what is known before the training, on slices that neither of the two knows."""
    monkeypatch.setattr(forest_opinion, "_fitting_share", lambda opinions: 0.6 if len(opinions) == held_out else None)
    held_out = len(learner.bank.held_out)
    assert held_out
    before = learner.predict(CancelToken())
    learner.ask_forest(CancelToken())
    expected = torch.lerp(before, learner.forest.everywhere.float(), 0.6)
    torch.testing.assert_close(learner.predict(CancelToken()), expected)
