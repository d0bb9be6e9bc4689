"""What cannot become sparse labels is refused rather than wrapped, shifted or cut."""

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob

from SparseSegLib.annotation import Plane, keep_planes, sparse_labels_from_segments, sparsify, sparsify_every
from SparseSegLib.errors import AnnotationError, GeometryError

GEOMETRY = GEOMETRIES["identity"]
TRUTH = blob().labels


@pytest.mark.parametrize("value", [-1, 255, 1000])
@pytest.mark.parametrize(
    "make",
    [
        lambda labels: sparsify(labels, GEOMETRY, (1, 1, 1)),
        lambda labels: sparsify_every(labels, GEOMETRY, 4),
        lambda labels: sparse_labels_from_segments(labels, GEOMETRY, [Plane(0, 10)]),
    ],
)
def test_values_that_do_not_fit_a_byte_are_refused(make, value):
    with pytest.raises(AnnotationError, match="1 to 254") as caught:
        make(TRUTH.astype(np.int16) * value)
    assert caught.value.hint


@pytest.mark.parametrize("index", [-1, GEOMETRY.shape[0]])
@pytest.mark.parametrize("make", [keep_planes, sparse_labels_from_segments])
def test_planes_outside_of_the_grid_are_refused(make, index):
    with pytest.raises(GeometryError, match=f"slice {index} along z"):
        make(TRUTH, GEOMETRY, [Plane(0, index)])


def test_other_shapes_are_refused():
    with pytest.raises(GeometryError, match="labelmap"):
        keep_planes(TRUTH[1:], GEOMETRY, [Plane(0, 10)])
    with pytest.raises(GeometryError, match="Strokes"):
        sparse_labels_from_segments(TRUTH, GEOMETRY, [Plane(0, 10)], background=np.zeros((2, 3, 4), bool))


def test_background_strokes_may_be_bytes():
    strokes = np.zeros(GEOMETRY.shape, np.uint8)
    strokes[15, 3, 3:6] = 1
    labels = sparse_labels_from_segments(np.zeros_like(TRUTH), GEOMETRY, [], background=strokes)
    np.testing.assert_array_equal(labels.array == 0, strokes == 1)


def test_every_zeroth_slice_is_refused():
    with pytest.raises(AnnotationError, match="0th"):
        sparsify_every(TRUTH, GEOMETRY, 0)
