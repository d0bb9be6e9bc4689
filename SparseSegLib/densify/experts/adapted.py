"""A trained model that is adapted to one volume: its network goes on learning from the annotation, on its own grid."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.cohort.learner import CohortLearner
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Request, TrainableExpert
from SparseSegLib.densify.problem import Problem
from SparseSegLib.image import Box, Geometry
from SparseSegLib.inference import count_tiles, predict_patches
from SparseSegLib.models import ModelCard
from SparseSegLib.models.building import step_cost
from SparseSegLib.models.bundle import load_weights
from SparseSegLib.models.fitting import classes_for
from SparseSegLib.patches import LabeledImage, PatchRecipe
from SparseSegLib.preprocessing.for_model import prepare_for
from SparseSegLib.preprocessing.grid import probabilities_on

LEARNED_STEPS = 100  # steps that the model's own weights count for in the averaged ones, so that new ones soon matter
COST = 2e9  # operations of a step of the slice U-Net; one that costs more is taken as much less often
QUICK_COST = 1e11  # operations that take no time worth mentioning on a CPU
MOST_KEPT = 1_000_000  # weights that a warm start keeps; larger models start from their bundle again


@dataclass(frozen=True)
class AdaptedRecipe:
    """A model bundle whose network joins the experts: it starts from the model's weights, and learns on.

    Attributes
    ----------
    path : of the bundle, a folder or a zip; of several networks in it, the first is taken
    learning_rate : AdamW
    balance : exponent on the inverse class frequency in the loss
    """

    name: ClassVar[str] = "adapted"
    path: str
    learning_rate: float = 1e-3
    balance: float = 0.5
    prior_weight: float = 3.0  # somebody chose it, and it knows the structure when the others have seen a slice or two
    warmup: int = 0

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """Always: a model that does not fit is an error, since somebody chose it."""
        return True

    def make(self, problem: Problem, seed: int, device: torch.device) -> AdaptedExpert:
        """The expert with the model's weights.

        Raises ModelError if the bundle cannot be read, UsageError if it is for other structures or channels.
        """
        card, weights = load_weights(self.path)
        classes = classes_for(card, problem.full.own_names, len(problem.image))
        recipe = PatchRecipe(
            card.network,
            dict(card.arguments),
            patch=card.window,
            learning_rate=self.learning_rate,
            balance=self.balance,
        )
        learner = CohortLearner(recipe, len(problem.image), card.classes, seed, device, flips=card.mirrored)
        own = _first_of(weights) if card.members > 1 else weights
        learner.warm_start({"averaged": own, "averaged_steps": LEARNED_STEPS})
        return AdaptedExpert(problem, card, learner, classes, step_cost(Path(self.path), card))


class AdaptedExpert(TrainableExpert):
    """Learns from patches around labeled voxels on the model's grid; predicts there, with overlapping windows.

    Parameters
    ----------
    problem : Problem
    card : of the model
    learner : has the model's network
    classes : of the model, one for each annotated structure in their order
    cost : operations for a window, see ``step_cost``

    Attributes
    ----------
    every : of the steps of the ensemble's first expert, it takes each ``every``-th
    """

    def __init__(
        self, problem: Problem, card: ModelCard, learner: CohortLearner, classes: tuple[int, ...], cost: float
    ) -> None:
        self.problem = problem
        self.card = card
        self.learner = learner
        self.classes = classes
        self.every = max(1, round(cost / COST))
        self._cost = cost
        self._image, self._grid = prepare_for(problem.volume.loaded(), card.preprocessing)
        self._tile_seconds: float | None = None

    @property
    def steps(self) -> int:  # type: ignore[override]
        """Training steps so far."""
        return self.learner.steps

    @property
    def trained(self) -> int:  # type: ignore[override]
        """Steps behind the weights that predict; the model's own training counts for some."""
        return self.learner.averaged.steps

    @property
    def is_quick(self) -> bool:
        """Whether a prediction of all of the working grid takes no time worth mentioning."""
        box = self._part(Request.whole(self.problem))[1]
        affordable = self.learner.device.type != "cpu" or self._tiles(box) * self._cost <= QUICK_COST
        return super().is_quick and affordable

    def set_annotation(self, problem: Problem, hidden: frozenset[Plane]) -> None:
        """Learn from this annotation from now on, ``hidden`` planes left out."""
        self.problem = problem
        drawn = problem.without(hidden)
        inner = _box_around(drawn.geometry, self._grid, (1, 1, 1))
        outer = _box_around(drawn.geometry, self._grid, self.card.window)
        there = on_grid(drawn, self._grid.crop(inner), "The annotation", resample_to=True).array
        table = np.full(256, UNLABELED, np.uint8)
        table[: 1 + len(self.classes)] = (0, *self.classes)
        labels = np.full([side.stop - side.start for side in outer], UNLABELED, np.uint8)
        labels[_within(inner, outer)] = table[there]
        self.learner.learn_from([LabeledImage(self._image[(slice(None), *outer)].contiguous(), labels)])

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        return self.learner.step(rate)

    def shrink(self) -> int:
        """There is one patch per step: 0."""
        return self.learner.shrink()

    @torch.inference_mode()
    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's places."""
        target, box = self._part(request)
        started = time.monotonic()
        found = predict_patches(
            self.learner.averaged.network,
            self._image[(slice(None), *box)],
            classes=self.card.classes,
            patch=self.card.window,
            device=self.learner.device,
            check=token.check,
        )
        self._tile_seconds = (time.monotonic() - started) / self._tiles(box)
        structures = found[[*self.classes]]
        chosen = torch.cat([(1 - structures.sum(0, keepdim=True)).clamp(min=0), structures])
        found = probabilities_on(chosen, self._grid.crop(box), target)
        return found[(slice(None), *request.within_box)]

    def seconds(self, request: Request) -> float:
        """Seconds that a prediction would take, from those before, or from one window now."""
        if self._tile_seconds is None:
            started = time.monotonic()
            empty = torch.zeros(1, len(self._image), *self.card.window, device=self.learner.device)
            with torch.inference_mode():
                self.learner.averaged.network(empty).cpu()
            self._tile_seconds = time.monotonic() - started
        return self._tiles(self._part(request)[1]) * self._tile_seconds

    def _part(self, request: Request) -> tuple[Geometry, Box]:
        """The request's part of the problem's grid, and the box around it on the model's.

        That is somewhat wider, as what a network finds at the border of an image is worse, and at least a window wide.
        """
        target = self.problem.labels.geometry.crop(request.box)
        sides = [side.stop - side.start for side in _box_around(target, self._grid, (0, 0, 0))]
        z, y, x = (
            max(-(-(width - side) // 2), width // 8) for width, side in zip(self.card.window, sides, strict=True)
        )
        return target, _box_around(target, self._grid, (z, y, x))

    def _tiles(self, box: Box) -> int:
        z, y, x = (side.stop - side.start for side in box)
        return count_tiles(self.learner.averaged.network, self.card.window, (z, y, x))

    def weights_dict(self) -> dict[str, Any]:
        """The averaged weights, which predict; none if they are large."""
        state = self.learner.weights_dict()
        return state if sum(value.numel() for value in state["averaged"].values()) <= MOST_KEPT else {}

    def state_dict(self) -> dict[str, Any]:
        """The state that :meth:`load_state_dict` needs to go on to the same result."""
        return self.learner.state()

    def load_state_dict(self, state: Mapping[str, Any], *, warm_start: bool = False) -> None:
        """Go on where :meth:`state_dict` was taken, or start from its weights alone; without any, from the model's."""
        if not state:
            return
        (self.learner.warm_start if warm_start else self.learner.restore)(dict(state))


def _first_of(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the first of several networks."""
    prefix = "members.0."
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _box_around(part: Geometry, grid: Geometry, margin: tuple[int, int, int]) -> Box:
    """The box of ``grid`` that holds ``part`` and so many voxels (z, y, x) more on each side, as far as it goes."""
    corners = np.array(list(product(*((-0.5, size - 0.5) for size in part.shape))))
    places = grid.physical_to_index(part.index_to_physical(corners))
    sides = []
    for low, high, more, size in zip(places.min(0), places.max(0), margin, grid.shape, strict=True):
        start = min(max(0, int(np.floor(low)) - more), size - 1)
        sides.append(slice(start, max(start + 1, min(size, int(np.ceil(high)) + 1 + more))))
    return sides[0], sides[1], sides[2]


def _within(inner: Box, outer: Box) -> Box:
    """A box as a part of another one that holds it."""
    z, y, x = (
        slice(side.start - around.start, side.stop - around.start) for side, around in zip(inner, outer, strict=True)
    )
    return z, y, x
