"""Grids of any shape, spacing, place and orientation: what must hold for all of them."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_properties_io import geometries

from SparseSegLib.image import Geometry, place, resample, whole_voxel_offset

quick = settings(max_examples=25, deadline=None)
OFFSETS = st.tuples(*[st.integers(-4, 4)] * 3)


def numbered(geometry):
    """An array whose voxels all differ."""
    return np.arange(1, np.prod(geometry.shape) + 1, dtype=np.int32).reshape(geometry.shape)


def moved(geometry, offset):
    return geometry.crop(tuple(slice(start, start + size) for start, size in zip(offset, geometry.shape, strict=True)))


@quick
@given(geometries(), st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=1, max_size=5))
def test_points_go_there_and_back(geometry, points):
    back = geometry.physical_to_index(geometry.index_to_physical(np.array(points)))
    np.testing.assert_allclose(back, points, atol=1e-3)


@quick
@given(geometries())
def test_simpleitk_puts_voxels_in_the_same_place(geometry):
    array = numbered(geometry)
    image = geometry.to_sitk(array)
    assert Geometry.from_sitk(image).matches(geometry, 1e-6)
    last = np.array(geometry.shape) - 1
    there = image.TransformIndexToPhysicalPoint([int(n) for n in last[::-1]])
    np.testing.assert_allclose(there, geometry.index_to_physical(last), atol=1e-6 * (1 + np.abs(there).max()))


@quick
@given(geometries(), OFFSETS)
def test_a_crop_lies_where_its_voxels_were(geometry, offset):
    cropped = moved(geometry, offset)
    np.testing.assert_allclose(
        cropped.index_to_physical(np.zeros(3)), geometry.index_to_physical(np.array(offset)), atol=1e-6
    )
    assert whole_voxel_offset(cropped, geometry) == offset
    assert cropped.matches(geometry) == (offset == (0, 0, 0))
    assert (geometry.difference(cropped) == "") == (offset == (0, 0, 0))


@quick
@given(geometries(), OFFSETS)
def test_placing_moves_whole_voxels_and_back(geometry, offset):
    cropped, array = moved(geometry, offset), numbered(geometry)
    there = place(array, geometry, cropped)
    shared = there != 0
    assert set(there[shared]) <= set(array.ravel())
    back = place(there, cropped, geometry)
    np.testing.assert_array_equal(back[back != 0], array[back != 0])
    assert np.count_nonzero(back) == np.count_nonzero(shared)
    np.testing.assert_array_equal(there, resample(array, geometry, cropped, order="nearest"))


@quick
@given(geometries(), st.permutations(range(3)), st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_nearest_neighbor_finds_the_same_voxels_on_turned_axes(geometry, order, signs):
    """A grid of the same points, numbered along other axes, holds the same values at the same places."""
    array = numbered(geometry)
    flips = tuple(slice(None, None, sign) for sign in signs)
    expected = array.transpose(order)[flips]
    matrix = np.asarray(geometry.direction).reshape(3, 3)[:, ::-1][:, list(order)] * np.array(signs)
    shape = tuple(geometry.shape[axis] for axis in order)
    first = np.zeros(3)
    for axis, sign, size in zip(order, signs, shape, strict=True):
        first[axis] = size - 1 if sign < 0 else 0
    turned = Geometry(
        shape,
        tuple(geometry.spacing[axis] for axis in order),
        tuple(geometry.index_to_physical(first)),
        tuple(matrix[:, ::-1].ravel()),
    )
    np.testing.assert_array_equal(resample(array, geometry, turned, order="nearest"), expected)


@quick
@given(geometries(), st.tuples(*[st.floats(0.4, 3)] * 3))
def test_another_spacing_keeps_the_field_of_view(geometry, factors):
    spacing = np.array(geometry.spacing) * factors
    new = geometry.with_spacing(spacing)
    center, kept = (grid.index_to_physical((np.array(grid.shape) - 1) / 2) for grid in (geometry, new))
    np.testing.assert_allclose(kept, center, atol=1e-6 * (1 + np.abs(center).max()))
    size, old = np.array(new.shape) * spacing, np.array(geometry.shape) * geometry.spacing
    assert (np.abs(size - old) <= spacing * (0.5 + 1e-6)).all() or min(new.shape) == 1
    assert new.direction == geometry.direction and new.with_spacing(spacing).matches(new)


@quick
@given(geometries(), st.floats(0.02, 0.4), st.integers(0, 2))
def test_grids_that_do_not_align_are_told_apart(geometry, shift, axis):
    start = np.zeros(3)
    start[axis] = shift
    other = Geometry(geometry.shape, geometry.spacing, tuple(geometry.index_to_physical(start)), geometry.direction)
    assume(not np.allclose(other.origin, geometry.origin, rtol=1e-9, atol=0))
    assert not geometry.matches(other) and whole_voxel_offset(other, geometry) is None
    assert "origin" in geometry.difference(other)
