"""Extremely randomized trees on gray values around a voxel: without positions, their errors differ from networks'.

Trees that draw their thresholds at random (Geurts et al., Machine Learning 2006) take less time to learn than a random
forest, and find more. The features are in ``voxel_features``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Expert, Request
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.slicewise import interpolated
from SparseSegLib.densify.voxel_features import VoxelFeatures
from SparseSegLib.image import Box

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesClassifier

VOXELS_AT_ONCE = 250_000
QUICK_PART = 4  # of the trees, one of so many is grown for a quick prediction


@dataclass(frozen=True)
class ExtraTreesRecipe:
    """Configuration of the trees.

    Attributes
    ----------
    trees : number of them
    samples : labeled voxels to learn from, at most
    more_samples : the same in a large region, whose prediction takes longer than they do
    leaf : samples in a leaf, at least
    tried : fraction of the features that is tried at each branch
    """

    name: ClassVar[str] = "extra-trees"
    trees: int = 40
    samples: int = 60_000
    more_samples: int = 150_000
    leaf: int = 2
    tried: float = 0.8
    prior_weight: float = 1.0
    warmup: int = 0

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """Always."""
        return True

    def make(self, problem: Problem, seed: int, device: torch.device) -> ExtraTreesExpert:
        """The expert; its features are computed when they are first needed."""
        return ExtraTreesExpert(problem, self, seed)


class ExtraTreesExpert(Expert):
    """Fits at the first prediction after the annotation changed; about a second for a million voxels.

    For a quick prediction it grows some of the trees first.

    Parameters
    ----------
    problem : Problem
    recipe : ExtraTreesRecipe
    seed : int
    """

    def __init__(self, problem: Problem, recipe: ExtraTreesRecipe, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed
        self.problem = problem
        self._features: VoxelFeatures | None = None
        self._trees: ExtraTreesClassifier | None = None
        self._pace = _Pace()

    @property
    def ready(self) -> bool:
        """Whether it has fitted."""
        return self._trees is not None

    def set_annotation(self, problem: Problem, hidden: frozenset[Plane]) -> None:
        """Learn from this annotation, ``hidden`` planes left out, as soon as something is to be predicted."""
        if problem.box != self.problem.box:
            self._features = None
        self.problem = problem
        self.known = problem.without(hidden)
        self._trees = None

    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's places."""
        trees = self._fitted(self._trees_for(request))
        started = time.monotonic()
        features = self._features_of(request.box)
        if self.problem.in_parts:
            self._pace.computed(time.monotonic() - started, math.prod(side.stop - side.start for side in request.box))
        z, y, x = request.places
        stride = request.stride if request.quick else 1  # what is thin is lost between slices
        strided = z[::stride]
        out = torch.zeros(self.problem.classes, len(strided), len(y), len(x))
        depth = max(1, VOXELS_AT_ONCE // (len(y) * len(x)))
        for start in range(0, len(strided), depth):
            token.check()
            part = strided[start : start + depth]
            started = time.monotonic()
            table = features.table((part, y, x)).numpy()
            looked = time.monotonic()
            found = torch.from_numpy(trees.predict_proba(table))
            self._pace.predicted(looked - started, time.monotonic() - looked, len(table), trees.n_estimators)
            block = found.T.reshape(-1, len(part), len(y), len(x)).float()
            out[trees.classes_.tolist(), start : start + len(part)] = block
        return interpolated(out, stride, len(z))

    def seconds(self, request: Request) -> float:
        """Seconds that a prediction would take, fitting included."""
        trees = self._trees_for(request)
        grown = 0 if self._trees is None else self._trees.n_estimators
        computed = request.box if self.problem.in_parts else Request.whole(self.problem).box
        voxels = math.prod(side.stop - side.start for side in computed)
        z, y, x = request.shape
        depth = -(-z // request.stride) if request.quick else z
        return (
            (0.0 if self._features is not None else voxels * self._pace.feature_seconds)
            + max(0, trees - grown) * self._pace.tree_seconds
            + depth * y * x * (self._pace.table_seconds + trees * self._pace.voxel_seconds)
        )

    def _trees_for(self, request: Request) -> int:
        return max(1, self.recipe.trees // QUICK_PART) if request.quick else self.recipe.trees

    def _features_of(self, box: Box) -> VoxelFeatures:
        """Features of all voxels, kept; in a large region of those in a box."""
        problem = self.problem
        if problem.in_parts:
            return VoxelFeatures(problem.image, problem.spacing, box)
        if self._features is None:
            self._features = VoxelFeatures(problem.image, problem.spacing)
        return self._features

    def _fitted(self, count: int) -> ExtraTreesClassifier:
        """At least so many trees, grown one after another: more trees change none of those before."""
        if self._trees is None:
            most = self.recipe.more_samples if self.problem.in_parts else self.recipe.samples
            self._table = samples(self._features_of, self.known, most, self.seed)
            classes, counts = np.unique(self._table[1], return_counts=True)
            balanced = counts.sum() / (len(classes) * counts)
            self._trees = _new_trees(self.recipe, self.seed, dict(zip(classes.tolist(), balanced, strict=True)))
        trees = self._trees
        missing = count - (trees.n_estimators if hasattr(trees, "estimators_") else 0)
        if missing > 0:
            started = time.monotonic()
            trees.n_estimators = count
            trees.fit(*self._table)
            self._pace.grew(time.monotonic() - started, missing)
        return trees


@dataclass
class _Pace:
    """Measured times; at first those on two cores.

    Attributes
    ----------
    feature_seconds : for the smoothed images at a voxel
    tree_seconds : for a tree that grows
    table_seconds : for the features of a voxel, which are looked up once for all trees
    voxel_seconds : for a voxel in a tree
    """

    feature_seconds: float = 4e-7
    tree_seconds: float = 0.08
    table_seconds: float = 8e-7
    voxel_seconds: float = 1e-8

    def computed(self, seconds: float, voxels: int) -> None:
        self.feature_seconds = seconds / voxels

    def grew(self, seconds: float, trees: int) -> None:
        self.tree_seconds = seconds / trees

    def predicted(self, table_seconds: float, seconds: float, voxels: int, trees: int) -> None:
        self.table_seconds, self.voxel_seconds = table_seconds / voxels, seconds / (voxels * trees)


def _new_trees(recipe: ExtraTreesRecipe, seed: int, weights: dict[int, float]) -> ExtraTreesClassifier:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(
        min_samples_leaf=recipe.leaf,
        max_features=recipe.tried,
        class_weight=weights,
        n_jobs=torch.get_num_threads(),
        random_state=seed,
        warm_start=True,
    )


def samples(
    features: Callable[[Box], VoxelFeatures], labels: SparseLabels, most: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features ``(N, F)`` and classes ``(N,)`` of labeled voxels; those where planes cross occur once a plane.

    Parameters
    ----------
    features : those of the voxels in a box
    labels : SparseLabels
    most : voxels; of more of them, so many are drawn at random
    seed : int
    """
    slices = list(_labeled_slices(labels))
    ends = np.cumsum([len(classes) for _, _, classes in slices])
    chosen = np.arange(ends[-1])
    if ends[-1] > most:
        chosen = np.random.default_rng(seed).choice(ends[-1], most, replace=False)
    table: np.ndarray | None = None
    for (box, labeled, classes), end in zip(slices, ends, strict=True):
        own = chosen - (end - len(classes))
        here = (own >= 0) & (own < len(classes))
        z, y, x = (range(side.start, side.stop) for side in box)
        found = features(box).table((z, y, x))[labeled].numpy()
        if table is None:
            table = np.empty((len(chosen), found.shape[1]), found.dtype)
        table[here] = found[own[here]]
    assert table is not None
    return table, np.concatenate([classes for _, _, classes in slices])[chosen]


def _labeled_slices(labels: SparseLabels) -> Iterator[tuple[Box, torch.Tensor, np.ndarray]]:
    """Of each annotated plane, and of each slice with scribbles, the box around its labeled voxels.

    With which of the box's voxels, z slowest, are labeled, and their classes.
    """
    masks = [(plane, labels.array[plane.voxels] != UNLABELED) for plane in labels.planes]
    points = labels.scribble_points
    for index in np.unique(points[:, 0]):
        scribbled = np.zeros(labels.array.shape[1:], bool)
        scribbled[tuple(points[points[:, 0] == index, 1:].T)] = True
        masks.append((Plane(0, int(index)), scribbled))
    for plane, mask in masks:
        drawn = labels.array[plane.voxels]
        if not mask.any():
            continue
        sides = []
        for other in (1, 0):
            places = np.flatnonzero(mask.any(other))
            sides.append(slice(int(places[0]), int(places[-1]) + 1))
        window = sides[0], sides[1]
        inside = mask[window].ravel()
        sides.insert(plane.axis, slice(plane.index, plane.index + 1))
        yield (sides[0], sides[1], sides[2]), torch.from_numpy(inside), drawn[window].ravel()[inside]
