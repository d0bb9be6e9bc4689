"""The 3D network beside the slice learner: what it learns from, and its share in what is predicted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from opinions import opinions_on_a_slice
from phantoms import blob

from SparseSegLib.annotation import sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import volume_opinion
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.densify.settings import ALL_PARTS, SliceRecipe
from SparseSegLib.densify.slice_learner import SliceLearner
from SparseSegLib.densify.volume_opinion import VolumeOpinion
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry, Volume

CPU = torch.device("cpu")
RECIPE = SliceRecipe(widths=(4, 8), pretrained=False, forest=False)


@pytest.fixture
def problem():
    """A blob with three slices across each axis."""
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3))
    return make_problem(phantom.volume, labels, 0.1, 1_000_000)


@pytest.fixture
def learner(problem):
    """One that has learned nothing yet and holds slices out."""
    return SliceLearner(problem, RECIPE, ALL_PARTS, 0, CPU, estimate=True)


def _balls() -> tuple[Problem, np.ndarray]:
    """Twelve bright balls in noise, on three slices; and where they are on the grid that is worked on."""
    rng = np.random.default_rng(0)
    truth = np.zeros((32, 40, 40), np.uint8)
    places = np.stack(np.meshgrid(*map(np.arange, truth.shape), indexing="ij"), -1)
    for center in ((z, y, x) for z in (8, 23) for y in (9, 30) for x in (7, 20, 33)):
        truth[np.linalg.norm(places - center, axis=-1) < 6] = 1
    image = (truth + rng.normal(0, 0.4, truth.shape)).astype(np.float32)
    geometry = Geometry.identity(truth.shape)
    problem = make_problem(Volume(image[None], geometry), sparsify(truth, geometry, (1, 1, 1)), 0.1, 1_000_000)
    return problem, truth[problem.box]


def test_it_finds_from_three_slices_what_gray_values_show():
    problem, truth = _balls()
    opinion = VolumeOpinion(problem, 0, CPU)
    opinion.meet(problem, [])
    for step in range(40):
        opinion.step(1 - step / 40)
    found = opinion.everywhere(CancelToken())
    torch.testing.assert_close(found.sum(0), torch.ones(truth.shape))
    assert iou(found.argmax(0).numpy() == 1, truth == 1) > 0.8


@pytest.mark.parametrize("longest", [8, 64])
def test_its_patches_lie_inside_the_region(problem, monkeypatch, longest):
    monkeypatch.setattr(volume_opinion, "PATCH", (longest,) * 3)
    opinion = VolumeOpinion(problem, 0, CPU)
    opinion.meet(problem, [])
    shape, patch = np.array(problem.labels.array.shape), np.array(opinion.recipe.patch)
    centers = np.array([opinion.center(0) for _ in range(200)])
    assert (centers - (patch - 1) / 2 >= 0).all()
    assert (centers + (patch - 1) / 2 <= shape - 1).all()
    assert (len(np.unique(centers, axis=0)) == 1) == (longest > shape.max())


def test_what_is_drawn_on_held_out_slices_does_not_reach_it(learner):
    planes = learner.held_out_planes()
    assert planes
    known = learner.problem.labels
    for plane in planes:
        known = known.without(plane)
    assert np.array_equal(learner.volume.labels[0].numpy(), known.array)
    learner.hold_out(frozenset())
    assert np.array_equal(learner.volume.labels[0].numpy(), learner.problem.labels.array)


def test_it_has_its_share_as_soon_as_it_has_learned_and_no_more_steps_without_one(learner):
    other = SliceLearner(learner.problem, replace(RECIPE, volume=False), ALL_PARTS, 0, CPU, estimate=True)
    assert other.volume is None
    for _ in range(2 * volume_opinion.EVERY):
        learner.step(1.0)
        other.step(1.0)
    assert learner.state()["volume"]["steps"] == 2  # asks when the step beside is done
    alone = other.predict(CancelToken(), guess=False)
    said = learner.volume.everywhere(CancelToken())
    share = learner.volume.share
    torch.testing.assert_close(learner.predict(CancelToken(), guess=False), torch.lerp(alone, said, share))
    little = share * learner.volume.averaged.steps / volume_opinion.LISTENED_FROM
    torch.testing.assert_close(learner.predict(CancelToken()), torch.lerp(other.predict(CancelToken()), said, little))
    learner.volume.share = 0.0
    for _ in range(volume_opinion.EVERY):
        learner.step(1.0)
    assert learner.state()["volume"]["steps"] == 2  # asks when the step beside is done


@pytest.mark.parametrize(
    ("right", "expected"),
    [(0.0, volume_opinion.WORSE), (0.97, volume_opinion.ALIKE), (1.0, volume_opinion.BETTER)],
)
def test_held_out_slices_decide_on_its_share(learner, right, expected):
    """``right`` is how much of the object it finds, where the others find 99 of 100 pixels."""
    learner.volume.weigh([opinions_on_a_slice(0.99, right)])
    assert learner.volume.share == expected
    assert learner.state()["volume"]["share"] == expected


def test_the_estimate_is_of_all_together(learner):
    learner.volume.share = 1.0
    said = learner.volume.everywhere(CancelToken()).argmax(0)
    for plane, (found, _) in zip(learner.held_out_planes(), learner.predict_held_out(), strict=True):
        assert torch.equal(found, said.select(plane.axis, plane.index))


def test_a_large_region_does_without(problem, monkeypatch):
    monkeypatch.setattr(volume_opinion, "MOST_VOXELS", problem.labels.array.size - 1)
    assert SliceLearner(problem, RECIPE, ALL_PARTS, 0, CPU).volume is None
