"""Extremely randomized trees on gray values: what they learn, and from which slices."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from phantoms import blob
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, keep_planes, sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts import ExtraTreesRecipe, Request, extra_trees
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.densify.voxel_features import VoxelFeatures
from SparseSegLib.image import Geometry, Volume

SHAPE = (12, 20, 24)
NOTHING = frozenset()


def _textures() -> tuple[np.ndarray, np.ndarray]:
    """An image whose left half is noise voxel by voxel and whose right half is smooth, of the same gray values."""
    rng = np.random.default_rng(0)
    fine, coarse = rng.normal(size=SHAPE), ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.0)
    truth = np.zeros(SHAPE, np.uint8)
    truth[..., SHAPE[2] // 2 :] = 1
    return np.where(truth > 0, coarse / coarse.std(), fine).astype(np.float32), truth


def _problem(image: np.ndarray, labels: SparseLabels) -> Problem:
    return make_problem(Volume(image[None], labels.geometry), labels, 10.0, 10**6)


def _expert(problem: Problem, hidden: frozenset[Plane] = NOTHING):
    expert = ExtraTreesRecipe().make(problem, 0, torch.device("cpu"))
    expert.set_annotation(problem, hidden)
    return expert


def test_it_tells_textures_apart_that_no_gray_value_does():
    image, truth = _textures()
    labels = keep_planes(truth, Geometry.identity(SHAPE), [Plane(0, 5), Plane(1, 10)])
    problem = _problem(image, labels)
    found = _expert(problem).predict(Request.whole(problem), CancelToken())
    unseen = problem.labels.array == UNLABELED
    assert (found.argmax(0).numpy() == truth[problem.box])[unseen].mean() > 0.85
    torch.testing.assert_close(found.sum(0), torch.ones(found.shape[1:]))


def test_a_box_and_slices_of_any_orientation_are_those_of_the_whole():
    image, truth = _textures()
    problem = _problem(image, keep_planes(truth, Geometry.identity(SHAPE, (1.0, 1.0, 3.0)), [Plane(0, 5)]))
    expert = _expert(problem)
    whole = expert.predict(Request.whole(problem), CancelToken())
    box = (slice(2, 5), slice(3, 9), slice(0, 11))
    torch.testing.assert_close(expert.predict(Request(box), CancelToken()), whole[(slice(None), *box)])
    planes = [Plane(0, 3), Plane(1, 7), Plane(2, 11)]
    for plane, found in zip(planes, expert.predict_planes(planes, CancelToken()), strict=True):
        torch.testing.assert_close(found, whole.select(1 + plane.axis, plane.index))


def test_a_quick_look_grows_some_of_the_trees_and_changes_no_later_one():
    image, truth = _textures()
    problem = _problem(image, keep_planes(truth, Geometry.identity(SHAPE), [Plane(0, 5), Plane(1, 10)]))
    expert, other = _expert(problem), _expert(problem)
    whole = Request.whole(problem)
    quick = expert.predict(Request.whole(problem, 4, quick=True), CancelToken())
    assert quick.shape == (2, *problem.labels.array.shape)
    assert (quick.argmax(0).numpy() == truth[problem.box]).mean() > 0.75
    assert expert.seconds(whole) > expert.seconds(Request.whole(problem, 4, quick=True)) > 0
    assert torch.equal(expert.predict(whole, CancelToken()), other.predict(whole, CancelToken()))


def test_the_seconds_of_a_careful_prediction_are_known_after_a_quick_one(monkeypatch):
    from sklearn.ensemble import ExtraTreesClassifier

    clock, table, found = [0.0], VoxelFeatures.table, ExtraTreesClassifier.predict_proba

    def slow_table(self, where):
        rows = table(self, where)
        clock[0] += 3.0 * len(rows)
        return rows

    def slow_trees(self, rows):
        clock[0] += 0.5 * len(rows) * self.n_estimators
        return found(self, rows)

    image, truth = _textures()
    problem = _problem(image, keep_planes(truth, Geometry.identity(SHAPE), [Plane(0, 5), Plane(1, 10)]))
    expert, whole = _expert(problem), Request.whole(problem)
    monkeypatch.setattr(extra_trees, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(VoxelFeatures, "table", slow_table)
    monkeypatch.setattr(ExtraTreesClassifier, "predict_proba", slow_trees)
    expert.predict(Request.whole(problem, 4, quick=True), CancelToken())
    expected = expert.seconds(whole)
    start = clock[0]
    expert.predict(whole, CancelToken())
    assert clock[0] - start == pytest.approx(expected)


def test_scribbles_teach_it_too_and_a_class_that_is_not_drawn_is_never_found():
    image, truth = _textures()
    array = np.full(SHAPE, UNLABELED, np.uint8)
    array[3, 4:9, 2:6], array[8, 4:9, 16:20] = 0, 1
    problem = _problem(image, SparseLabels(array, Geometry.identity(SHAPE), (), ("a",)))
    problem = replace(problem, classes=3)
    found = _expert(problem).predict(Request.whole(problem), CancelToken())
    assert not found[2].any()
    assert (found.argmax(0).numpy() == truth[problem.box]).mean() > 0.7


def test_what_is_drawn_on_hidden_slices_does_not_reach_it():
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (3, 3, 3))
    problem = make_problem(phantom.volume, labels, 0.1, 1_000_000)
    plane = problem.labels.planes[0]
    others = np.zeros(problem.labels.array.shape, bool)
    for other in problem.labels.planes[1:]:
        others[other.voxels] = True
    array = problem.labels.array.copy()
    array[plane.voxels] = np.where(others[plane.voxels], array[plane.voxels], 1 - array[plane.voxels])
    changed = replace(problem, labels=replace(problem.labels, array=array))
    whole = Request.whole(problem)
    hidden = [_expert(one, frozenset([plane])).predict(whole, CancelToken()) for one in (problem, changed)]
    known = [_expert(one).predict(whole, CancelToken()) for one in (problem, changed)]
    assert torch.equal(*hidden)
    assert not torch.equal(*known)
