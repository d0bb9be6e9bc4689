"""Finding annotated slices: runs of neighbors, strokes, flat objects, single-slice volumes."""

import numpy as np
import pytest
from phantoms import blob, multi_class

from SparseSegLib.annotation import Plane, find_planes, is_dense, keep_planes
from SparseSegLib.image import Geometry

GEOMETRY = Geometry.identity((48, 52, 56))


def _drawn(truth, planes):
    """Only what is on the planes, 0 elsewhere."""
    labels = keep_planes(truth, Geometry.identity(truth.shape), planes)
    return np.where(labels.labeled, labels.array, 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("length", [2, 3, 4, 6])
def test_a_run_of_adjacent_slices_is_no_volume(axis, length):
    planes = [Plane(axis, 24 + number) for number in range(length)]
    drawn = _drawn(blob(GEOMETRY).labels, planes)
    assert not is_dense(drawn)
    assert find_planes(drawn) == planes


@pytest.mark.parametrize("make", [blob, multi_class])
def test_runs_are_found_among_crossing_slices(make):
    planes = [Plane(0, 18), Plane(0, 24), Plane(0, 25), Plane(1, 26), Plane(2, 20), Plane(2, 21), Plane(2, 22)]
    assert find_planes(_drawn(make(GEOMETRY).labels, planes)) == planes


def test_random_planes_adjacent_or_not():
    truth = blob(GEOMETRY).labels
    rng = np.random.default_rng(3)
    for _ in range(8):
        planes = {Plane(axis, int(rng.integers(16, 34))) for axis in range(3) for _ in range(int(rng.integers(1, 4)))}
        assert find_planes(_drawn(truth, planes)) == sorted(planes)


def test_several_pieces_on_a_slice():
    truth = np.zeros((20, 60, 60), np.uint8)
    for row, column in ((10, 10), (10, 45), (45, 28)):
        truth[4:16, row : row + 8, column : column + 9] = 1 + (row > 20)
    planes = [Plane(0, 6), Plane(0, 11), Plane(1, 13)]
    assert find_planes(_drawn(truth, planes)) == planes


@pytest.mark.parametrize("shape", [(11, 4, 3), (12, 12, 12), (5, 9, 9)])
def test_a_box_is_dense(shape):
    drawn = np.zeros((30, 30, 30), np.uint8)
    drawn[tuple(slice(10, 10 + size) for size in shape)] = 1
    assert is_dense(drawn)
    assert find_planes(drawn) == []


def test_an_object_that_the_field_of_view_cuts_on_both_sides_is_dense():
    drawn = np.zeros((6, 60, 60), np.uint8)
    drawn[:, 10:50, 10:50] = 1
    assert is_dense(drawn)


def test_an_object_of_which_all_slices_taper_is_dense_however_flat():
    z, y, x = np.mgrid[-10:11, -40:41, -40:41]
    drawn = ((z / 5) ** 2 + (y / 30) ** 2 + (x / 30) ** 2 < 1).astype(np.uint8)
    assert is_dense(drawn)


def test_balls_of_a_3d_brush_and_thin_strokes_make_no_plane():
    drawn = _drawn(blob(GEOMETRY).labels, [Plane(0, 20), Plane(2, 28)])
    z, y, x = np.indices(drawn.shape)
    drawn[(z - 38) ** 2 + (y - 26) ** 2 + (x - 20) ** 2 <= 9] = 1
    drawn[30, 15:35, 40:42] = 1
    assert find_planes(drawn) == [Plane(0, 20), Plane(2, 28)]


def test_a_wide_stroke_that_annotated_slices_cross_makes_no_plane():
    planes = [Plane(0, 24), Plane(1, 22), Plane(1, 30), Plane(2, 20), Plane(2, 26), Plane(2, 34)]
    drawn = _drawn(blob(GEOMETRY).labels, planes)
    drawn[28, 24:28, 22:25] = 1
    assert find_planes(drawn) == planes


def test_a_volume_of_one_slice_and_an_empty_one():
    drawn = np.zeros((1, 20, 20), np.uint8)
    assert find_planes(drawn) == []
    drawn[0, 5:12, 5:12] = 1
    assert find_planes(drawn) == [Plane(0, 0)]
