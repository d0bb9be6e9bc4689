"""Properties of labels, planes and coarse grids that hold for whatever is drawn."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("hypothesis")
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from SparseSegLib.annotation import (
    UNLABELED,
    Plane,
    SparseLabels,
    decoded,
    encoded,
    find_planes,
    keep_planes,
    read_sparse_labels,
    sparsify,
    values_in,
    write_sparse_labels,
)
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.region import region_of_interest
from SparseSegLib.errors import SparseSegError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.image.coarse import block_means, coarsening

quick = settings(max_examples=20, deadline=None)


def own_values(highest=2**31 - 1):
    """Values of structures."""
    value = st.integers(1, highest).filter(lambda value: value != UNLABELED)
    return st.lists(value, min_size=1, max_size=4, unique=True)


names = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp", "Zs")), min_size=1, max_size=8).filter(
    lambda name: name.casefold() != "background" and not name.startswith("Segment_")
)


def grid(shape):
    """A grid of voxels that are no cubes, away from the origin."""
    return Geometry(shape, (2.0, 0.5, 0.75), (5.0, -6.0, 7.0))


@st.composite
def sparse_labels(draw, highest=2**31 - 1):
    """An annotation of random voxels and whole planes, with structures of any values and names."""
    shape = tuple(draw(st.integers(4, 9)) for _ in range(3))
    values = draw(own_values(highest))
    codes = np.array([*range(len(values) + 1), UNLABELED], np.uint8)
    array = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).choice(codes, shape)
    planes = set()
    for axis, place in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=3)):
        plane = Plane(axis, place)
        array[plane.voxels] = np.where(array[plane.voxels] == UNLABELED, 0, array[plane.voxels])
        planes.add(plane)
    own = draw(st.lists(names, min_size=len(values), max_size=len(values), unique_by=str.casefold))
    return SparseLabels(array, grid(shape), tuple(sorted(planes)), tuple(own), values=tuple(values))


def in_own_values(labels):
    """What is labeled, in the user's values; -1 where nothing is."""
    own = decoded(np.where(labels.labeled, labels.array, 0), labels.own_values).astype(np.int64)
    return np.where(labels.labeled, own, -1)


@given(arrays.arrays(np.int64, (3, 4, 5), elements=st.sampled_from([0, 1, 2, 41, 254, 1000, 65536, 2**31 - 1])))
@quick
def test_values_become_classes_and_come_back(labels):
    own = [value for value in values_in(labels) if value]
    classes = encoded(labels, {0: 0, **{value: number for number, value in enumerate(own, start=1)}})
    assert values_in(classes) == list(range(classes.min(), len(own) + 1))
    np.testing.assert_array_equal(decoded(classes, own), labels)


@pytest.mark.parametrize(("name", "highest"), [("a.nrrd", 60_000), ("a.nii.gz", 2**31 - 1), ("a.mha", 2**31 - 1)])
@given(data=st.data())
@quick
def test_sparse_labels_come_back_from_a_file_with_their_values_names_and_planes(name, highest, data):
    labels = data.draw(sparse_labels(highest))
    assume({*np.unique(labels.array)} - {0, UNLABELED})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_sparse_labels(labels, path)
        again = read_sparse_labels(path)
    np.testing.assert_array_equal(in_own_values(again), in_own_values(labels))
    known = dict(zip(labels.own_values, labels.own_names, strict=True))
    assert {**dict(again.empty), **dict(zip(again.own_values, again.own_names, strict=True))} == known
    assert again.planes == labels.planes


@given(sparse_labels())
@quick
def test_a_segmentation_comes_back_with_its_values_names_and_planes(labels):
    assume(any(value not in (0, UNLABELED) for value in np.unique(labels.array)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.seg.nrrd"
        write_sparse_labels(replace(labels, values=tuple(range(1, 1 + len(labels.values)))), path)
        again = read_sparse_labels(path)
    again = again.renamed({})
    assert again.planes == labels.planes
    np.testing.assert_array_equal(again.labeled, labels.labeled)
    known = dict(enumerate(labels.own_names, start=1))
    assert {**dict(again.empty), **dict(zip(again.own_values, again.own_names, strict=True))} == known


@given(sparse_labels())
@quick
def test_compact_labels_say_the_same_with_classes_that_all_occur(labels):
    compact = labels.compact()
    np.testing.assert_array_equal(in_own_values(compact), in_own_values(labels))
    assert [value for value in values_in(compact.array) if 0 < value < UNLABELED] == list(range(1, compact.classes))
    assert sorted([*compact.own_values, *dict(compact.empty)]) == sorted(labels.own_values)
    assert compact.compact() is compact


@given(sparse_labels(), sparse_labels())
@quick
def test_merged_labels_are_the_others_and_where_these_are_silent_the_first(first, second):
    box = tuple(slice(0, min(pair)) for pair in zip(first.array.shape, second.array.shape, strict=True))
    first, second = first.crop(box), second.crop(box)
    both = first.merge(second)
    expected = np.where(second.labeled, in_own_values(second), in_own_values(first))
    np.testing.assert_array_equal(in_own_values(both), expected)
    assert set(both.planes) == {*first.planes, *second.planes}
    assert all((both.array[plane.voxels] != UNLABELED).all() for plane in both.planes)


@given(sparse_labels(), st.data())
@quick
def test_a_crop_has_the_same_labels_at_the_same_places(labels, data):
    box = []
    for size in labels.array.shape:
        start = data.draw(st.integers(0, size - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, size))))
    part = labels.crop(tuple(box))
    np.testing.assert_array_equal(part.array, labels.array[tuple(box)])
    start = np.array([side.start for side in box])
    places = labels.geometry.index_to_physical(start)
    np.testing.assert_allclose(part.geometry.index_to_physical(np.zeros(3)), places, atol=1e-9)
    moved = {Plane(plane.axis, plane.index + box[plane.axis].start) for plane in part.planes}
    inside = {plane for plane in labels.planes if box[plane.axis].start <= plane.index < box[plane.axis].stop}
    assert moved == inside


@given(sparse_labels())
@quick
def test_planes_that_are_taken_away_and_put_back(labels):
    for plane in labels.planes:
        rest = labels.without(plane)
        assert plane not in rest.planes
        assert all((rest.array[other.voxels] != UNLABELED).all() for other in rest.planes)
        back = rest.merge(labels.only([plane]))
        assert back.planes == labels.planes
        np.testing.assert_array_equal(back.array, labels.array)
    kept = labels.only(labels.planes)
    assert not kept.scribbles.any()
    np.testing.assert_array_equal(kept.array[kept.labeled], labels.array[kept.labeled])


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(0, 2)] * 3))
@quick
def test_slices_of_balls_are_found_again(seed, per_axis):
    assume(any(per_axis))
    rng = np.random.default_rng(seed)
    shape = (36, 40, 44)
    radius = rng.uniform(9, 14)
    middle = np.array([rng.uniform(radius + 1, size - radius - 2) for size in shape])
    places = np.indices(shape) - middle[:, None, None, None]
    truth = (np.square(places).sum(0) < radius**2).astype(np.uint8)
    labels = sparsify(truth, grid(shape), per_axis)
    planes = labels.planes
    assume(all(Plane(plane.axis, plane.index + 1) not in planes for plane in planes))
    assert find_planes(np.where(labels.labeled, labels.array, 0)) == list(planes)
    assert find_planes(labels.array) == list(planes)


@given(own_values(60_000), st.tuples(*[st.integers(0, 2)] * 3), st.integers(0, 2**32 - 1))
@quick
def test_sparse_labels_of_dense_ones_hold_what_these_have_there(values, per_axis, seed):
    assume(any(per_axis))
    rng = np.random.default_rng(seed)
    dense = rng.choice([0, *values], (6, 7, 8))
    assume(dense.any())
    labels = sparsify(dense, grid(dense.shape), per_axis, values=tuple(values))
    found = in_own_values(labels)
    np.testing.assert_array_equal(found[labels.labeled], dense[labels.labeled])
    assert not labels.scribbles.any()
    assert len(labels.planes) <= sum(per_axis)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nrrd"
        try:
            write_sparse_labels(labels, path)
            again = read_sparse_labels(path)
        except SparseSegError:
            assume(False)
    np.testing.assert_array_equal(in_own_values(again), found)
    assert again.planes == labels.planes


@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.tuples(*[st.sampled_from([2e-4, 0.3, 1.0, 7.0])] * 3),
    st.integers(1, 5000),
)
@quick
def test_a_coarse_grid_is_small_enough_and_its_voxels_are_means(shape, spacing, most):
    factors = coarsening(shape, spacing, most)
    image = torch.from_numpy(np.random.default_rng(0).random((1, *shape), np.float32))
    means = block_means(image, factors)
    assert means.numel() <= most
    assert means.shape[1:] == tuple(-(-size // factor) for size, factor in zip(shape, factors, strict=True))
    z, y, x = (min(size, factor) for size, factor in zip(shape, factors, strict=True))
    if (z, y, x) == factors:
        torch.testing.assert_close(means[0, 0, 0, 0], image[0, :z, :y, :x].mean(), rtol=1e-4, atol=1e-5)


@given(sparse_labels(), st.floats(0, 1), st.integers(1, 4))
@quick
def test_a_region_holds_all_objects_and_its_coarse_labels_are_drawn_ones(labels, margin, coarser):
    try:
        labels.validate()
    except SparseSegError:
        assume(False)
    box = region_of_interest(labels, margin)
    objects = (labels.array > 0) & labels.labeled
    assert objects[box].sum() == objects.sum()
    image = np.random.default_rng(0).random((1, *labels.array.shape), np.float32)
    problem = make_problem(Volume(image, labels.geometry), labels, margin, 10**6, None, coarser)
    assert 1 <= min(problem.factors) <= max(problem.factors) <= coarser
    seen = set(np.unique(problem.labels.array)) - {UNLABELED}
    assert seen <= set(np.unique(problem.full.array))
    assert all((problem.labels.array[plane.voxels] != UNLABELED).all() for plane in problem.labels.planes)
    wide = problem.to_region(torch.ones(2, *problem.labels.array.shape), 0, problem.region_shape[0])
    assert wide.shape[1:] == problem.region_shape


@given(st.integers(1, 9), st.integers(-5, 15), st.integers(0, 2))
@quick
def test_planes_outside_of_a_volume_are_never_taken(size, index, axis):
    shape = [4, 4, 4]
    shape[axis] = size
    dense = np.ones(shape, np.uint8)
    inside = 0 <= index < size
    if inside:
        labels = keep_planes(dense, grid(tuple(shape)), [Plane(axis, index)])
        assert labels.labeled.sum() == dense.size // size
    else:
        with pytest.raises(SparseSegError):
            keep_planes(dense, grid(tuple(shape)), [Plane(axis, index)])
