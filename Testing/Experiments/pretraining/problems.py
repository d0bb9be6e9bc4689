"""Problems to learn densifying from: slices of a volume as the generalist sees them, with the truth.

Each is made from its number alone, so that a training gets as many as it wants. Those that a training is judged by have
numbers of their own; two thirds of them are of kinds that no training sees. They come with what others find.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from Experiments.pretraining.annotating import annotate
from Experiments.pretraining.real_worlds import real_world
from Experiments.synthesis.kinds import HELD_OUT
from Experiments.synthesis.worlds import World, random_world

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts import ExpertRecipe, PretrainedRecipe, RandomWalkRecipe
from SparseSegLib.densify.generalist_features import LAYOUT, GeneralistFeatures
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.errors import SparseSegError
from SparseSegLib.image import Geometry, Volume

REAL = 0.25  # fraction of the problems, where there is a folder of real volumes
SLICES = 8  # without annotation
FEWEST, MOST_SHARE, MOST_VOXELS, MOST_CLASSES = 200, 0.7, 1_000_000, 5
LEARN, JUDGE = 0, 1  # what a problem is for
EVERY_KNOWN = 3  # of the problems that a training is judged by, each so many-th is of a kind that it sees
FILL = 10  # the shared channel of interpolated outlines

CPU = torch.device("cpu")
PEERS: dict[str, ExpertRecipe] = {"walk": RandomWalkRecipe(), "slice_unet": PretrainedRecipe()}
"""Whose findings come with the problems that a training is judged by; ``fill`` interpolates the outlines."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of one volume, with one of its structures.

    Attributes
    ----------
    kind : of the structures
    known : whether a training sees others of this kind
    channels : of the image
    inputs : of each slice, channels (L, U, V) float16 as ``LAYOUT`` orders them
    labels : (U, V) uint8, 1 in the structure
    found : by name of a peer, of each slice (U, V) bool
    """

    kind: str
    known: bool
    channels: int
    inputs: list[torch.Tensor]
    labels: list[torch.Tensor]
    found: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """To be saved."""
        return dict(vars(self))


def make_slices(number: int, data: Path | None = None, seed: int = 0, purpose: int = LEARN) -> Slices:
    """Problem ``number``, the same each time; without ``data`` of a generated volume."""
    rng = np.random.default_rng((seed, purpose, number))
    known = purpose == LEARN or number % EVERY_KNOWN == 0
    while True:
        try:
            world = _world(rng, data if purpose == LEARN else None, known=known)
            problem, truth, label = _problem(world, rng)
        except SparseSegError:  # slices that miss the structure, for instance
            continue
        if problem is not None and not problem.in_parts:
            return _cut(world.kind, problem, truth, label, rng, known=known, judged=purpose == JUDGE)


def _world(rng: np.random.Generator, data: Path | None, *, known: bool) -> World:
    if data is not None and rng.random() < REAL:
        return real_world(data, rng)
    return random_world(rng) if known else random_world(rng, HELD_OUT)


def _problem(world: World, rng: np.random.Generator) -> tuple[Problem | None, np.ndarray, int]:
    """A problem, all classes ``(Z, Y, X)`` in its region, and the structure that is asked for."""
    inside = world.labels > 0
    if inside.sum() < FEWEST or inside.mean() > MOST_SHARE or world.labels.max() >= MOST_CLASSES:
        return None, world.labels, 0
    geometry = Geometry(world.labels.shape, world.spacing)
    drawn = annotate(world.labels, geometry, rng)
    problem = make_problem(Volume(world.image, geometry), drawn, float(rng.choice((0.1, 0.1, 0.3))), MOST_VOXELS)
    own = problem.full.own_values
    label = int(rng.integers(1, problem.classes))
    truth = np.zeros_like(world.labels)
    for number, value in enumerate(own, start=1):
        truth[world.labels == value] = number
    return problem, truth[problem.box], label


def _cut(
    kind: str,
    problem: Problem,
    truth: np.ndarray,
    label: int,
    rng: np.random.Generator,
    *,
    known: bool,
    judged: bool,
) -> Slices:
    """Random slices, most of them through the structure."""
    features = GeneralistFeatures(problem)
    prior, whole = features.prior, torch.from_numpy(truth)
    there = [np.unique(places) for places in np.nonzero(truth == label)]
    planes: list[Plane] = []
    for _ in range(SLICES):
        axis = features.axes[rng.integers(len(features.axes))]
        through = len(there[axis]) and rng.random() < 0.75
        planes.append(Plane(axis, int(rng.choice(there[axis]) if through else rng.integers(prior.shape[axis]))))
    part = slice((label - 1) * LAYOUT.channels(len(problem.image)), label * LAYOUT.channels(len(problem.image)))
    inputs, labels = [], []
    for plane in planes:
        view = features.view(plane.axis, plane.index)
        inputs.append(features.of(view, prior.everything)[part].half())
        labels.append((view.cut(whole) == label).byte())
    found = _peers(problem, planes, label) if judged else {}
    if judged:
        start = len(problem.image) * LAYOUT.image
        found["fill"] = [one[start + FILL] > 0 for one in inputs]
    return Slices(kind, known, len(problem.image), inputs, labels, found)


def _peers(problem: Problem, planes: list[Plane], label: int) -> dict[str, list[torch.Tensor]]:
    found = {}
    for name, recipe in PEERS.items():
        if recipe.suits(problem, None, CPU):
            expert = recipe.make(problem, 0, CPU)
            expert.set_annotation(problem, frozenset())
            found[name] = [slices.argmax(0) == label for slices in expert.predict_planes(planes, CancelToken())]
    return found
