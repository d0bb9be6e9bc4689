"""From the working grid to the volume's own and back: everything stays where it is."""

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import UNLABELED, Plane, keep_planes
from SparseSegLib.densify.finish import region_labels, suggest, whole
from SparseSegLib.densify.next_slice import suggest_slice
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.image import Geometry, Volume

SHAPE = (40, 44, 48)
OBJECT = (slice(20, 34), slice(22, 38), slice(26, 42))


def _problem(coarser=1, shape=SHAPE):
    truth = np.zeros(shape, np.uint8)
    truth[OBJECT] = 1
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32) + truth
    geometry = Geometry.identity(shape)
    labels = keep_planes(truth, geometry, [Plane(0, 27), Plane(1, 30), Plane(2, 34)])
    return make_problem(Volume(image[None], geometry), labels, 0.1, 10**6, None, coarser)


def test_the_suggested_slice_is_one_of_the_whole_volume():
    problem = _problem()
    assert min(side.start for side in problem.box) > 4
    for axis, index in ((0, 3), (1, 5), (2, 15)):
        entropy = np.zeros(problem.region_shape, np.float32)
        entropy[tuple(index if other == axis else slice(None) for other in range(3))] = 1
        assert suggest(problem, np.zeros(problem.region_shape, np.uint8), entropy) == Plane(
            axis, index + problem.box[axis].start
        )


@pytest.mark.parametrize("shape", [SHAPE, (41, 45, 49)])
def test_a_result_on_a_coarse_grid_lies_where_it_is_in_the_volume(shape):
    problem = _problem(coarser=2, shape=shape)
    assert problem.factors == (2, 2, 2)
    middles = [
        (np.arange(count) * factor + (factor - 1) / 2)
        for count, factor in zip(problem.labels.array.shape, problem.factors, strict=True)
    ]
    ramp = torch.from_numpy(np.stack(np.meshgrid(*middles, indexing="ij"))).float()
    found = torch.cat(
        [problem.to_region(ramp, start, start + 5) for start in range(0, problem.region_shape[0] - 4, 5)], 1
    )
    expected = np.stack(np.meshgrid(*map(np.arange, problem.region_shape), indexing="ij"))[:, : found.shape[1]]
    inside = (slice(None), slice(2, -3), slice(2, -3), slice(2, -3))
    np.testing.assert_allclose(found.numpy()[inside], expected[inside], atol=1e-3)


def test_planes_lie_on_the_coarse_slice_that_they_are_in():
    problem = _problem(coarser=2)
    for plane in problem.full.planes:
        coarse = problem.on_working_grid(plane)
        assert coarse in problem.labels.planes
        place = problem.labels.geometry.index_to_physical(_middle(coarse, problem.labels.array.shape))
        own = problem.full.geometry.index_to_physical(_middle(plane, problem.full.array.shape))
        axis = 2 - plane.axis  # of x, y, z
        assert abs(place[..., axis] - own[..., axis]).max() <= 0.5


def _middle(plane: Plane, shape) -> np.ndarray:
    middle = np.array(shape, float)[None] / 2
    middle[0, plane.axis] = plane.index
    return middle


def test_the_region_comes_back_to_its_place_and_what_is_drawn_stands():
    problem = _problem()
    inside = torch.zeros(problem.region_shape)
    inside[3, 4, 5] = 1
    labels, entropy = region_labels(problem, torch.stack([1 - inside, inside]), uncertainty=True)
    dense = whole(problem, labels, np.uint8)
    z, y, x = (side.start + offset for side, offset in zip(problem.box, (3, 4, 5), strict=True))
    free = problem.full.array[problem.box] == UNLABELED
    assert np.argwhere(whole(problem, labels * free, np.uint8)).tolist() == [[z, y, x]]
    drawn = problem.full.array[problem.box]
    assert (labels[~free] == drawn[~free]).all()
    assert (entropy[~free] == 0).all()
    assert dense.shape == SHAPE


def test_the_suggested_slice_is_uncertain_and_away_from_annotated_ones():
    doubt = np.zeros((40, 40, 40), np.float32)
    doubt[10, 5:35, 5:35] = 1
    doubt[30, 5:35, 5:33] = 1
    nothing = np.zeros(doubt.shape, bool)
    assert suggest_slice(doubt, nothing, (), (1, 1, 1)) == Plane(0, 10)
    assert suggest_slice(doubt, nothing, (Plane(0, 9),), (1, 1, 1)) == Plane(0, 30)
    assert suggest_slice(np.zeros_like(doubt), nothing, (), (1, 1, 1)) is None


def test_with_few_slices_one_through_the_objects_is_suggested_with_many_an_uncertain_one():
    objects = np.zeros((41, 41, 41), bool)
    objects[10:31, 10:31, 10:31] = True
    doubt = np.zeros(objects.shape, np.float32)
    doubt[36] = 1
    few = (Plane(0, 20), Plane(1, 20), Plane(2, 20))
    found = suggest_slice(doubt, objects, few, (1, 1, 1))
    assert 10 <= found.index <= 30
    many = tuple(Plane(axis, index) for axis in range(3) for index in range(8, 33, 2))
    assert suggest_slice(doubt, objects, many, (1, 1, 1)) == Plane(0, 36)


def test_where_all_is_alike_the_middle_of_the_widest_gap_is_suggested():
    doubt = np.full((41, 41, 41), 0.5, np.float32)
    known = tuple(Plane(axis, index) for axis in (1, 2) for index in range(0, 41, 4))
    assert suggest_slice(doubt, doubt > 1, (*known, Plane(0, 0), Plane(0, 26), Plane(0, 40)), (1, 1, 1)) == Plane(0, 13)


def test_a_thick_slice_settles_no_more_than_a_thin_one_that_shows_as_much():
    """Along the axis with 4 mm from slice to slice, a slice tells less of its neighbors."""
    doubt = np.full((10, 40, 40), 0.5, np.float32)
    found = suggest_slice(doubt, doubt > 1, (), (4, 1, 1))
    cube = np.full((40, 40, 40), 0.5, np.float32)
    alike = suggest_slice(cube, cube > 1, (), (1, 1, 1))
    assert alike.index in (19, 20)
    assert found.index in ((4, 5) if found.axis == 0 else (19, 20))
