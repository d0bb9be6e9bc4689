"""3D networks on patches of the image alone: where their patches lie, and what they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import blob

from SparseSegLib.annotation import UNLABELED, sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts import Request, UNet3DRecipe
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.densify.settings import BESIDE
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.patches import PatchRecipe

CPU = torch.device("cpu")
NOTHING = frozenset()


@pytest.fixture(scope="module")
def problem():
    """A blob with three slices across each axis."""
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3))
    return make_problem(phantom.volume, labels, 0.1, 1_000_000)


def _expert(problem, patches: PatchRecipe):
    expert = UNet3DRecipe(patches).make(problem, 0, CPU)
    expert.set_annotation(problem, NOTHING)
    return expert


def _balls() -> tuple[Problem, np.ndarray]:
    """Twelve bright balls in noise, on three slices; and where they are on the working grid."""
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
    expert = BESIDE.make(problem, 0, CPU)
    expert.set_annotation(problem, NOTHING)
    for step in range(40):
        expert.step(1 - step / 40)
    found = expert.predict(Request.whole(problem), CancelToken())
    torch.testing.assert_close(found.sum(0), torch.ones(truth.shape))
    assert iou(found.argmax(0).numpy() == 1, truth == 1) > 0.8


@pytest.mark.parametrize("longest", [8, 200])
def test_patches_of_a_network_that_pads_lie_inside_the_region(problem, longest):
    expert = _expert(problem, PatchRecipe("unet3d-small", {"base": 4, "levels": 2}, patch=(longest, 8, longest)))
    trainer = expert.trainer
    shape, patch = np.array(problem.labels.array.shape), np.array(trainer.recipe.patch)
    assert (patch == np.minimum((longest, 8, longest), shape)).all()
    centers = np.array([trainer.center(0) for _ in range(200)])
    assert (centers - (patch - 1) / 2 >= 0).all()
    assert (centers + (patch - 1) / 2 <= shape - 1).all()
    assert len(np.unique(centers, axis=0)) > 1
    assert np.isfinite(expert.step(1.0))


def test_patches_of_a_network_that_does_not_pad_keep_their_size(problem):
    trainer = _expert(problem, PatchRecipe("cicek2016", {"base": 2}, patch=(92, 92, 92), batch=1)).trainer
    assert trainer.recipe.patch == (92, 92, 92)
    for _ in range(20):
        assert problem.labels.array[trainer.center(0)] != UNLABELED


def test_what_is_drawn_on_hidden_slices_does_not_reach_it(problem):
    expert = _expert(problem, PatchRecipe("unet3d-small", {"base": 4, "levels": 2}, patch=(16, 16, 16)))
    plane = problem.labels.planes[0]
    expert.set_annotation(problem, frozenset([plane]))
    assert np.array_equal(expert.trainer.labels[0].numpy(), problem.labels.without(plane).array)
    expert.set_annotation(problem, NOTHING)
    assert np.array_equal(expert.trainer.labels[0].numpy(), problem.labels.array)


def test_the_prediction_of_a_box_is_near_that_of_the_whole(problem):
    expert = _expert(problem, PatchRecipe("unet3d-small", {"base": 4, "levels": 2}, patch=(24, 24, 24)))
    for _ in range(3):
        expert.step(1.0)
    whole = expert.predict(Request.whole(problem), CancelToken())
    box = tuple(slice(side // 3, side // 3 + 6) for side in problem.labels.array.shape)
    part = expert.predict(Request(box), CancelToken())
    assert part.shape[1:] == (6, 6, 6)
    assert (part - whole[(slice(None), *box)]).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("seconds", "voxels_per_second", "most_voxels", "suits"),
    [
        (None, 1, None, True),
        (60.0, 10_000, None, True),
        (20.0, 10_000, None, False),
        (60.0, 100, None, False),
        (60.0, 10_000, 1, False),
    ],
)
def test_it_is_left_out_where_there_is_no_time(problem, seconds, voxels_per_second, most_voxels, suits):
    recipe = UNet3DRecipe(least_seconds=40, voxels_per_second=voxels_per_second, most_voxels=most_voxels)
    assert problem.labels.array.size > 60 * 100
    assert recipe.suits(problem, seconds, CPU) == suits


def test_a_recipe_for_padded_networks_refuses_others(problem):
    recipe = UNet3DRecipe(PatchRecipe("cicek2016", {"base": 2}, patch=(92, 92, 92)))
    assert recipe.make(problem, 0, CPU).steps == 0
    with pytest.raises(Exception, match="not padded"):
        replace(recipe, padded=True).make(problem, 0, CPU)
