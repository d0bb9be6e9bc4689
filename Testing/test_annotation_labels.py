"""Choosing and joining sparse labels."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import GEOMETRIES, multi_class

from SparseSegLib.annotation import UNLABELED, Plane, keep_planes, sparsify, values_in
from SparseSegLib.errors import AnnotationError, GeometryError
from SparseSegLib.image.label_values import counts_in

GEOMETRY = GEOMETRIES["identity"]
TRUTH = multi_class().labels


def test_only_some_planes_and_no_scribbles():
    labels = sparsify(TRUTH, GEOMETRY, (2, 1, 0))
    array = labels.array.copy()
    array[1, 2, 3:6] = 1
    first = labels.planes[0]
    part = replace(labels, array=array).only([first])
    assert part.planes == (first,)
    np.testing.assert_array_equal(part.array, keep_planes(TRUTH, GEOMETRY, [first]).array)
    with pytest.raises(AnnotationError):
        labels.only([Plane(0, 1)])


def test_merging_joins_planes_and_the_other_counts_where_both_are_labeled():
    axial = keep_planes(TRUTH, GEOMETRY, [Plane(0, 10)])
    other = keep_planes(np.full_like(TRUTH, 2), GEOMETRY, [Plane(1, 16)], ("a", "b"))
    both = axial.merge(other)
    assert (both.planes, both.names) == ((Plane(0, 10), Plane(1, 16)), ("a", "b"))
    assert (both.array[:, 16] == 2).all()
    assert (np.delete(both.array[10], 16, 0) == np.delete(TRUTH[10], 16, 0)).all()
    assert both.labeled.sum() == axial.labeled.sum() + other.labeled.sum() - GEOMETRY.shape[2]
    with pytest.raises(GeometryError):
        axial.merge(replace(other, geometry=GEOMETRIES["oblique"]))


def test_too_many_classes_are_refused():
    labels = sparsify(TRUTH, GEOMETRY, (1, 1, 1), names=tuple(str(number) for number in range(UNLABELED)))
    with pytest.raises(AnnotationError, match="254"):
        labels.validate()


@pytest.mark.parametrize("values", [(255,), (0, 255), (1, 0, 2, 254)])
def test_values_are_counted(values):
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array(values, np.uint8), (3, 4, 5))
    np.testing.assert_array_equal(counts_in(labels), np.bincount(labels.ravel(), minlength=256))
    assert values_in(labels) == sorted(values)
