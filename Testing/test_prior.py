"""The annotation prior: what it says, and that a slice left out is not known to it."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import GEOMETRIES, blob, multi_class
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, keep_planes, sparsify
from SparseSegLib.image import Geometry
from SparseSegLib.image.region_image import InMemory
from SparseSegLib.prior import PRIOR_PARTS, AnnotationPrior, SliceView, sources_of
from SparseSegLib.prior.sources import least_gap
from SparseSegLib.prior.walk import WalkPrior

PARTS = [(part,) for part in PRIOR_PARTS] + [PRIOR_PARTS]


def _prior(labels: SparseLabels, image: np.ndarray, parts: tuple[str, ...]) -> AnnotationPrior:
    return AnnotationPrior(InMemory(torch.from_numpy(image)), labels, labels.classes, labels.geometry.spacing, parts)


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
    # all sources share two things: the size of the objects, by which distances are scaled, and whether to hear the walk
    monkeypatch.setattr("SparseSegLib.prior.annotation_prior.object_radius", lambda *_: 8.0)
    monkeypatch.setattr(AnnotationPrior, "_does_walk_mislead", lambda *_: False)
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


def test_interpolation_is_between_the_two_planes_around_a_slice():
    """Squares of very different sizes, so that any other pair of planes gives another one."""
    sides = {2: 6, 12: 30, 22: 10, 32: 26}
    truth = np.zeros((36, 40, 40), np.uint8)
    for index, side in sides.items():
        low = 20 - side // 2
        truth[index, low : low + side, low : low + side] = 1
    labels = keep_planes(truth, Geometry.identity(truth.shape), [Plane(0, index) for index in sides])
    prior = _prior(labels, truth[None].astype(np.float32), ("interpolation",))
    for below, above in itertools.pairwise(sides):
        for share in (0.2, 0.5, 0.8):
            index = round(below + share * (above - below))
            inside = prior.channels(SliceView(0, index, prior.shape, prior.spacing), prior.everything)[0] > 0
            expected = sides[below] + share * (sides[above] - sides[below])
            assert float(inside.sum()) ** 0.5 == pytest.approx(expected, abs=2.5)


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


def test_the_walk_solves_the_dirichlet_problem_of_its_graph(monkeypatch):
    """Against a dense solution of Grady's equations, with a way to get lost, written down once more."""
    monkeypatch.setattr("SparseSegLib.prior.walk.TOLERANCE", 1e-8)
    geometry = Geometry.identity((5, 6, 7), (2.0, 1.0, 1.0))
    image = np.random.default_rng(0).uniform(-0.3, 0.3, geometry.shape).astype(np.float32)
    dense = np.zeros(geometry.shape, np.uint8)
    dense[1:4, 1:4, 1:5] = 1
    labels = keep_planes(dense, geometry, (Plane(0, 2), Plane(2, 3)))
    sources = sources_of(labels, 2, geometry.spacing)
    prior = WalkPrior(InMemory(torch.from_numpy(image[None])), sources, 2, geometry.spacing, (50.0,), lost=0.1)
    laplacian = np.zeros((image.size, image.size))
    places = np.arange(image.size).reshape(image.shape)
    for axis, length in enumerate(geometry.spacing):
        for one, other in zip(np.delete(places, -1, axis).ravel(), np.delete(places, 0, axis).ravel(), strict=True):
            weight = (np.exp(-50.0 * (image.flat[one] - image.flat[other]) ** 2) + 1e-4) / length
            laplacian[[one, other], [other, one]] -= weight
            laplacian[[one, other], [one, other]] += weight
    laplacian += 0.1 * np.eye(image.size)
    free = (labels.array == UNLABELED).ravel()
    expected = (labels.array == 1).ravel().astype(float)
    expected[free] = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, ~free)] @ expected[~free])
    expected = expected.reshape(image.shape)
    everything = tuple(range(len(sources)))
    for index in range(5):
        found = prior.channels(SliceView(0, index, geometry.shape, geometry.spacing), everything)[0]
        np.testing.assert_allclose((found + 1) / 2, expected[index], atol=1e-5)


def test_what_hardly_any_walker_reaches_is_background():
    """Beyond an edge in the image, with the object drawn on this side of it and nothing on that."""
    image = np.zeros((16, 12, 12), np.float32)
    image[8:] = 1
    labels = keep_planes(np.ones(image.shape, np.uint8), Geometry.identity(image.shape), (Plane(0, 3),))
    prior = _prior(labels, image[None], ("walk",))
    near, far = (prior.channels(SliceView(0, z, prior.shape, prior.spacing), prior.everything) for z in (5, 12))
    assert (near > 0.9).all()
    assert (far < -0.9).all()


def test_the_walk_is_heard_where_it_finds_left_out_slices_better_than_gray_values():
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3))
    parts = ("appearance", "walk")
    random = np.random.default_rng(0)
    noise = random.normal(size=phantom.volume.array.shape).astype(np.float32)
    threads = random.random(phantom.labels.shape) < 0.5  # as fine as voxels: nothing to walk along
    fine = keep_planes(threads.astype(np.uint8), labels.geometry, labels.planes)
    heard, silent = _prior(labels, 0.01 * noise, parts), _prior(fine, 2.0 * threads[None].astype(np.float32) - 1, parts)
    for prior, expected in ((heard, True), (silent, False)):
        view = SliceView(0, 3, prior.shape, prior.spacing)
        walk = prior.channels(view, prior.everything)[prior.spans["walk"]]
        assert bool(walk.any()) is expected
        assert walk.shape == (2, *view.size)


def test_no_walk_is_taken_where_gray_values_find_nothing(monkeypatch):
    """The first preview need not wait for it."""
    walked = []
    monkeypatch.setattr(WalkPrior, "probabilities", lambda *given: walked.append(given))
    random, whole = np.random.default_rng(0), sparsify(blob().labels, GEOMETRIES["identity"], (2, 2, 2))
    noise = random.normal(size=(1, *whole.array.shape)).astype(np.float32)
    labels = keep_planes((random.random(whole.array.shape) < 0.1).astype(np.uint8), whole.geometry, whole.planes)
    assert not _prior(labels, noise, ("appearance", "walk")).walk_misleads
    assert not walked
