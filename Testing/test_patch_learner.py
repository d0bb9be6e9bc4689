"""The patch learner: where its patches lie."""

import numpy as np
import pytest
import torch
from phantoms import blob

from SparseSegLib.annotation import UNLABELED, sparsify
from SparseSegLib.densify.patch_learner import PatchLearner
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.patches import PatchRecipe

CPU = torch.device("cpu")


@pytest.fixture
def problem():
    """A blob with three slices across each axis."""
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3))
    return make_problem(phantom.volume, labels, 0.1, 1_000_000)


@pytest.mark.parametrize("longest", [8, 200])
def test_patches_of_a_network_that_pads_lie_inside_the_region(problem, longest):
    recipe = PatchRecipe("unet3d-small", {"base": 4, "levels": 2}, patch=(longest, 8, longest))
    learner = PatchLearner(problem, recipe, 0, CPU)
    shape, patch = np.array(problem.labels.array.shape), np.array(learner.recipe.patch)
    assert (patch == np.minimum((longest, 8, longest), shape)).all()
    centers = np.array([learner.center(0) for _ in range(200)])
    assert (centers - (patch - 1) / 2 >= 0).all()
    assert (centers + (patch - 1) / 2 <= shape - 1).all()
    assert len(np.unique(centers, axis=0)) > 1
    assert np.isfinite(learner.step(1.0))


def test_patches_of_a_network_that_does_not_pad_keep_their_size(problem):
    recipe = PatchRecipe("cicek2016", {"base": 2}, patch=(92, 92, 92), batch=1)
    learner = PatchLearner(problem, recipe, 0, CPU)
    assert learner.recipe.patch == (92, 92, 92)
    for _ in range(20):
        assert problem.labels.array[learner.center(0)] != UNLABELED
