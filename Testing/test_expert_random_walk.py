"""Random walks over the image as an expert: they follow edges from the slices that they know."""

from dataclasses import replace

import numpy as np
import torch

from SparseSegLib.annotation import Plane, keep_planes
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts import RandomWalkRecipe, Request
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.image.region_image import InMemory

CPU = torch.device("cpu")


def _bent_tube() -> tuple[np.ndarray, np.ndarray]:
    """A bright tube that bends from one end to the other, and its image: no slice shows where it is in the next."""
    z, y, x = np.indices((24, 32, 40))
    truth = ((y - 16 - 8 * np.sin(x / 8)) ** 2 + (z - 12) ** 2 < 25).astype(np.uint8)
    return truth, (truth + np.random.default_rng(0).normal(0, 0.02, truth.shape)).astype(np.float32)


def _problem(planes):
    truth, image = _bent_tube()
    geometry = Geometry.identity(truth.shape)
    labels = keep_planes(truth, geometry, planes)
    problem = make_problem(Volume(image[None], geometry), labels, 10.0, 10**6)
    return problem, truth[problem.box]


def _expert(problem, hidden=frozenset(), **options):
    expert = RandomWalkRecipe(**options).make(problem, 0, CPU)
    expert.set_annotation(problem, hidden)
    return expert


def test_it_follows_an_edge_from_a_few_slices():
    problem, truth = _problem([Plane(2, 8), Plane(2, 30), Plane(0, 12)])
    found = _expert(problem).predict(Request.whole(problem), CancelToken())
    torch.testing.assert_close(found.sum(0), torch.ones(truth.shape), atol=2e-3, rtol=0)
    assert iou(found.argmax(0).numpy() == 1, truth == 1) > 0.9


def test_on_a_coarser_grid_it_lies_in_the_same_place():
    problem, truth = _problem([Plane(2, 8), Plane(2, 30), Plane(0, 12)])
    found = _expert(problem, most_voxels=truth.size // 8).predict(Request.whole(problem), CancelToken())
    inside = found[1].numpy() > 0.5
    assert iou(inside, truth == 1) > 0.7
    middle = [np.argwhere(mask).mean(0) for mask in (inside, truth == 1)]
    np.testing.assert_allclose(middle[0], middle[1], atol=0.5)


def test_how_bright_the_brightest_voxels_are_makes_no_edge():
    truth, image = _bent_tube()
    speckled = np.where(truth & (np.random.default_rng(1).random(truth.shape) < 0.4), 3.0, 2 * image - 1)
    planes = [Plane(2, 8), Plane(2, 30), Plane(0, 12)]
    labels = keep_planes(truth, Geometry.identity(truth.shape), planes)
    found = []
    for values in (speckled, np.minimum(speckled, 1.0)):
        problem = make_problem(Volume(speckled[None].astype(np.float32), labels.geometry), labels, 10.0, 10**6)
        problem = replace(problem, image=InMemory(torch.from_numpy(values[problem.box][None].astype(np.float32))))
        found.append(_expert(problem).predict(Request.whole(problem), CancelToken()))
    torch.testing.assert_close(found[0], found[1])
    assert iou(found[0].argmax(0).numpy() == 1, truth[problem.box] == 1) > 0.9


def test_it_takes_time_once():
    problem, _ = _problem([Plane(2, 8), Plane(0, 12)])
    expert, whole = _expert(problem), Request.whole(problem)
    assert expert.seconds(whole) > 0
    expert.predict(whole, CancelToken())
    assert expert.seconds(whole) == 0
    expert.set_annotation(problem, frozenset())
    assert expert.seconds(whole) > 0


def test_a_slice_that_is_hidden_changes_nothing():
    problem, _ = _problem([Plane(2, 8), Plane(2, 30), Plane(0, 12)])
    without, _ = _problem([Plane(2, 8), Plane(0, 12)])
    assert problem.box == without.box
    whole = Request.whole(problem)
    hidden = _expert(problem, frozenset([Plane(2, 30)])).predict(whole, CancelToken())
    torch.testing.assert_close(hidden, _expert(without).predict(whole, CancelToken()))


def test_a_box_is_a_part_of_the_whole():
    problem, _ = _problem([Plane(2, 8), Plane(0, 12)])
    expert = _expert(problem)
    box = (slice(2, 5), slice(3, 9), slice(0, 11))
    whole = expert.predict(Request.whole(problem), CancelToken())
    assert torch.equal(expert.predict(Request(box), CancelToken()), whole[(slice(None), *box)])
