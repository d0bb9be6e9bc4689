"""A trained model as an expert of the ensemble."""

from dataclasses import replace

import pytest
import torch
from phantoms import GEOMETRIES, blob

from SparseSegLib.annotation import sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.experts import BundleRecipe, Request
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.evaluation import iou
from SparseSegLib.image.region_image import InMemory

CPU = torch.device("cpu")


@pytest.fixture(params=["identity", "flipped", "oblique"])
def case(request):
    """A blob that the model can segment, on several grids, with a slice in each orientation."""
    phantom = blob(GEOMETRIES[request.param])
    return phantom, sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 1))


def _expert(bundle, problem):
    expert = BundleRecipe(str(bundle)).make(problem, 0, CPU)
    expert.set_annotation(problem, frozenset())
    return expert


def test_it_predicts_where_the_anatomy_is_on_any_working_grid(bundle, case):
    phantom, labels = case
    for coarser, least in ((1, 0.7), (2, 0.6)):
        problem = make_problem(phantom.volume, labels, 0.1, 10**6, None, coarser)
        found = _expert(bundle, problem).predict(Request.whole(problem), CancelToken())
        assert found.shape == (2, *problem.labels.array.shape)
        torch.testing.assert_close(found.sum(0), torch.ones(found.shape[1:]))
        fine = problem.to_region(found, 0, problem.region_shape[0])
        assert iou(fine.argmax(0).numpy() == 1, phantom.labels[problem.box] == 1) > least


def test_a_box_is_a_part_of_the_whole(bundle, case):
    phantom, labels = case
    problem = make_problem(phantom.volume, labels, 0.1, 10**6)
    expert = _expert(bundle, problem)
    box = (slice(2, 5), slice(3, 9), slice(0, 7))
    whole = expert.predict(Request.whole(problem), CancelToken())
    assert torch.equal(expert.predict(Request(box), CancelToken()), whole[(slice(None), *box)])


def test_it_takes_part_in_a_densification(bundle):
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 1))
    settings = DensifySettings(budget_steps=1, device="cpu", experts=(BundleRecipe(str(bundle)),))
    result = densify(phantom.volume, labels, settings)
    unseen = ~labels.labeled
    assert iou((result.labels == 1) & unseen, (phantom.labels == 1) & unseen) > 0.7


def test_it_suits_what_the_model_was_made_for(bundle):
    phantom = blob()
    problem = make_problem(phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 1)), 0.1, 10**6)
    recipe = BundleRecipe(str(bundle))
    assert recipe.suits(problem, None, CPU)
    assert not replace(recipe, classes=(1, 2)).suits(problem, None, CPU)
    assert not replace(recipe, classes=(9,)).suits(problem, None, CPU)
    two = replace(problem, image=InMemory(torch.cat([problem.image.values] * 2)))
    assert not recipe.suits(two, None, CPU)
