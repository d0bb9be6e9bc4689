"""The classical methods: they segment a plain phantom well, and keep the annotation."""

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob, multi_class

from SparseSegLib.annotation import sparsify, sparsify_every
from SparseSegLib.comparison import METHODS, forest, segment_with, walker
from SparseSegLib.evaluation import iou


def _available(name: str) -> None:
    pytest.importorskip("sklearn" if name == "Random forest" else "slicer" if "walker" not in name else "skimage")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("make", [blob, multi_class])
def test_methods_segment_a_phantom_and_keep_the_annotation(name, make):
    _available(name)
    phantom = make(noise=0.03)
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 4, 4))
    result = segment_with(name, phantom.volume, labels)
    assert (result[labels.labeled] == labels.array[labels.labeled]).all()
    unseen = ~labels.labeled
    assert iou((result > 0) & unseen, (phantom.labels > 0) & unseen) > 0.6


def test_the_random_walker_sees_every_plane_at_a_coarser_grid(monkeypatch):
    monkeypatch.setattr(walker, "MOST_VOXELS", 3000)
    phantom = blob(noise=0.03)
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 4, 4))
    result = segment_with("Random walker", phantom.volume, labels)
    assert result.shape == phantom.labels.shape
    assert iou(result > 0, phantom.labels > 0) > 0.7
    assert set(np.unique(result)) == {0, 1}


@pytest.mark.parametrize("name", METHODS)
def test_a_class_that_was_never_drawn_is_never_found(name):
    _available(name)
    phantom = multi_class(noise=0.03)
    dense = np.where(phantom.labels == 2, 0, phantom.labels).astype(np.uint8)
    result = segment_with(name, phantom.volume, sparsify(dense, phantom.volume.geometry, (3, 4, 4)))
    assert set(np.unique(result)) == {0, 1, 3}


@pytest.mark.parametrize("name", METHODS)
def test_thick_slices(name):
    _available(name)
    phantom = blob(GEOMETRIES["anisotropic"], noise=0.03)
    labels = sparsify_every(phantom.labels, phantom.volume.geometry, 4)
    result = segment_with(name, phantom.volume, labels)
    unseen = ~labels.labeled
    assert iou((result > 0) & unseen, (phantom.labels > 0) & unseen) > 0.75


def test_the_forest_works_on_a_large_region_slab_by_slab(monkeypatch):
    _available("Random forest")
    phantom = blob(noise=0.03)
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 4, 4))
    drawn = labels.array.copy()
    monkeypatch.setattr(forest, "SLAB_VOXELS", 6000)
    result = segment_with("Random forest", phantom.volume, labels)
    assert iou(result > 0, phantom.labels > 0) > 0.8
    np.testing.assert_array_equal(labels.array, drawn)
