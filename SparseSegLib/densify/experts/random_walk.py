"""Random walks over the image from the annotated slices: they follow edges, and need no training.

The walks are those of the annotation prior (Grady, IEEE TPAMI 2006; see ``SparseSegLib.prior.walk``) on a finer grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Expert, Request
from SparseSegLib.densify.problem import Problem
from SparseSegLib.image.coarse import between_blocks
from SparseSegLib.prior import sources_of
from SparseSegLib.prior.walk import WalkPrior

WALK_SECONDS = 2e-6
"""For a voxel that is walked on, on two cores."""


@dataclass(frozen=True)
class RandomWalkRecipe:
    """Configuration of the random walks.

    Attributes
    ----------
    contrast : how much an edge weakens with the squared difference of gray values (from -1 to 1, clipped: how bright
        the brightest voxels are says little of where an object ends)
    lost : weight of getting lost, see ``WalkPrior``
    iterations : of the solver, see ``WalkPrior``
    most_voxels : of the grid that is walked on
    """

    name: ClassVar[str] = "random-walk"
    contrast: float = 300.0
    lost: float = 3e-5
    iterations: tuple[int, int] = (200, 150)
    most_voxels: int = 1_600_000
    prior_weight: float = 0.4
    warmup: int = 0

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """Always."""
        return True

    def make(self, problem: Problem, seed: int, device: torch.device) -> RandomWalkExpert:
        """The expert."""
        return RandomWalkExpert(self)


class RandomWalkExpert(Expert):
    """Walks at the first prediction after the annotation changed.

    Parameters
    ----------
    recipe : RandomWalkRecipe
    """

    def __init__(self, recipe: RandomWalkRecipe) -> None:
        self.recipe = recipe
        self._prior: WalkPrior | None = None

    @property
    def ready(self) -> bool:
        """Whether it has walked."""
        return self._found is not None

    def set_annotation(self, problem: Problem, hidden: frozenset[Plane]) -> None:
        """Walk from this annotation from now on, ``hidden`` planes left out."""
        if self._prior is not None and problem.image is not self.problem.image:
            self._prior = None
        self.problem = problem
        self._known = problem.without(hidden)
        self._found: torch.Tensor | None = None

    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's places."""
        token.check()
        if self._found is None:
            self._found = self._walk()
        if self.problem.in_parts:
            return _with_background(between_blocks(self._found, self._factors, request.places))
        return self._found[(slice(None), *request.box)].float()

    def seconds(self, request: Request) -> float:
        """How long a prediction would take: nothing once it has walked."""
        if self._found is not None:
            return 0.0
        return WALK_SECONDS * min(self.problem.labels.array.size, self.recipe.most_voxels)

    def _walk(self) -> torch.Tensor:
        """Class probabilities ``(K, Z, Y, X)`` of the working grid, half precision.

        Of a large one those of the structures on the grid that was walked on.
        """
        problem, recipe = self.problem, self.recipe
        sources = sources_of(self._known, problem.classes, problem.spacing)
        prior = WalkPrior(
            problem.image.clipped(1) if self._prior is None else problem.image,
            sources,
            problem.classes,
            problem.spacing,
            (recipe.contrast,),
            recipe.most_voxels,
            recipe.lost,
            recipe.iterations,
            self._prior,
        )
        self._prior = prior
        found = prior.probabilities(tuple(range(len(sources))))[0]
        self._factors = prior.factors
        if problem.in_parts:
            return found
        size = [count * factor for count, factor in zip(found.shape[1:], prior.factors, strict=True)]
        depth, height, width = problem.image.sides
        fine = F.interpolate(found[None], size=size, mode="trilinear", align_corners=False)[0]
        return _with_background(fine[:, :depth, :height, :width]).half()


def _with_background(structures: torch.Tensor) -> torch.Tensor:
    """Class probabilities ``(K, ...)`` from those of the structures ``(K - 1, ...)``."""
    background = (1 - structures.sum(0, keepdim=True)).clamp(min=0)
    everything = torch.cat([background, structures])
    return everything.div_(everything.sum(0, keepdim=True).clamp(min=1e-6))
