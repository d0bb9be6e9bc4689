"""The annotation prior: what it says, and that a slice left out is not known to it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import GEOMETRIES, blob, multi_class
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, keep_planes, sparsify
from SparseSegLib.prior import PRIOR_PARTS, AnnotationPrior, SliceView, sources_of
from SparseSegLib.prior.sources import least_gap

PARTS = [(part,) for part in PRIOR_PARTS] + [PRIOR_PARTS]


def _prior(labels: SparseLabels, image: np.ndarray, parts: tuple[str, ...]) -> AnnotationPrior:
    return AnnotationPrior(torch.from_numpy(image), labels, labels.classes, labels.geometry.spacing, parts)


def _views(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> list[SliceView]:
    return [SliceView(axis, shape[axis] // 3, shape, spacing) for axis in range(3)]


@pytest.mark.parametrize("parts", PARTS, ids="+".join)
@pytest.mark.parametrize("geometry", ["identity", "anisotropic"])
def test_channels_have_the_slices_size_and_stay_within_one(parts, geometry):
    phantom = multi_class(GEOMETRIES[geometry])
    labels = sparsify(phantom.labels, phantom.volume.geometry, (1, 2, 2))
    prior = _prior(labels, phantom.volume.array, parts)
    for view in _views(prior.shape, prior.spacing):
        channels = prior.channels(view, prior.everything)
        assert channels.shape == (prior.count, *view.size)
        assert float(channels.abs().max()) <= 1 + 1e-5


@pytest.mark.parametrize("parts", PARTS, ids="+".join)
def test_a_source_left_out_changes_nothing(parts, monkeypatch):
    # the one number that all sources share is the size of the objects, by which distances are scaled
    monkeypatch.setattr("SparseSegLib.prior.annotation_prior.object_radius", lambda *_: 8.0)
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))
    gone = labels.planes[0]
    array = labels.array.copy()
    others = labels.without(gone).array != UNLABELED
    array[gone.voxels] = np.where(others[gone.voxels], array[gone.voxels], 1 - array[gone.voxels])
    changed = replace(labels, array=array)
    results = []
    for version in (labels, changed):
        prior = _prior(version, phantom.volume.array, parts)
        view = SliceView(gone.axis, gone.index, prior.shape, prior.spacing)
        results.append((prior.channels(view, prior.without({0})), prior.channels(view, prior.everything)))
    assert torch.equal(results[0][0], results[1][0])
    if parts != ("coordinates",):
        assert not torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("geometry", ["identity", "anisotropic"])
def test_distances_are_those_of_a_distance_transform(geometry):
    phantom = blob(GEOMETRIES[geometry])
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 1, 2))
    spacing = phantom.volume.geometry.spacing
    prior = _prior(labels, phantom.volume.array, ("distance",))
    expected = ndimage.distance_transform_edt(labels.array != 1, sampling=spacing)
    for view in _views(prior.shape, spacing):
        nearest = torch.stack([source.distance(view)[1].expand(view.size) for source in prior.sources]).amin(0)
        np.testing.assert_allclose(nearest, view.cut(torch.from_numpy(expected)), rtol=1e-4, atol=1e-3)


def test_scribbles_are_a_source_of_their_own():
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 0))
    array = labels.array.copy()
    array[3:5, 4:6, 30] = 0
    labels = replace(labels, array=array)
    prior = _prior(labels, phantom.volume.array, PRIOR_PARTS)
    assert len(prior.sources) == 3
    assert len(prior.sources[2].values()) == 4
    view = SliceView(0, 3, prior.shape, prior.spacing)
    assert not torch.equal(prior.channels(view, prior.everything), prior.channels(view, prior.without({2})))


def test_interpolation_finds_the_shape_between_two_slices():
    phantom = blob(noise=0)
    labels = sparsify(phantom.labels, phantom.volume.geometry, (6, 0, 0))
    prior = _prior(labels, phantom.volume.array, ("interpolation",))
    index = (labels.planes[2].index + labels.planes[3].index) // 2
    inside = prior.channels(SliceView(0, index, prior.shape, prior.spacing), prior.everything)[0] > 0
    truth = torch.from_numpy(phantom.labels[index] > 0)
    assert float((inside & truth).sum() / (inside | truth).sum()) > 0.9


def _annotated(*planes: Plane) -> SparseLabels:
    phantom = blob()
    return keep_planes(phantom.labels, phantom.volume.geometry, planes)


def test_slices_between_parallel_planes_look_no_nearer_than_what_was_learned_from():
    labels = _annotated(Plane(0, 4), Plane(0, 10), Plane(0, 14))
    spacing, shape = labels.geometry.spacing, labels.geometry.shape
    assert least_gap(sources_of(labels, 2, spacing), spacing) == 4 * spacing[0]
    prior = _prior(labels, blob().volume.array, ("distance",))
    between, learned_from = SliceView(0, 11, shape, spacing), SliceView(0, 10, shape, spacing)
    nearness = prior.channels(between, prior.everything)[-2:]
    learned = prior.channels(learned_from, prior.without({1}))[-2:]
    assert (nearness <= learned.amax((1, 2), keepdim=True) + 1e-6).all()


def test_crossing_planes_and_a_single_one_have_no_such_limit():
    crossing, single = _annotated(Plane(0, 4), Plane(0, 10), Plane(1, 14)), _annotated(Plane(0, 10))
    for labels in (crossing, single):
        assert least_gap(sources_of(labels, 2, labels.geometry.spacing), labels.geometry.spacing) == 0
