"""A trained model as an expert: its prediction needs no annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Expert, Request
from SparseSegLib.densify.problem import Problem
from SparseSegLib.models import load_card, load_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.preprocessing.for_model import prepare_for
from SparseSegLib.preprocessing.grid import probabilities_on


@dataclass(frozen=True)
class BundleRecipe:
    """A model bundle, and which of its classes are the annotated structures.

    Attributes
    ----------
    path : of the bundle, a folder or a zip
    classes : of the model, one for each annotated structure in their order
    """

    name: ClassVar[str] = "bundle"
    path: str
    classes: tuple[int, ...] = (1,)
    prior_weight: float = 0.5
    warmup: int = 0

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """For images with the model's channels, where each structure has a class."""
        card = load_card(self.path)
        enough = len(self.classes) == problem.classes - 1 and max(self.classes) < card.classes
        return enough and len(problem.image) == len(card.preprocessing.channels)

    def make(self, problem: Problem, seed: int, device: torch.device) -> BundleExpert:
        """The expert; ModelError if the bundle cannot be read."""
        card, network = load_network(self.path, device)
        return BundleExpert(Predictor(card, network, device, force=True), self.classes)


class BundleExpert(Expert):
    """Predicts the whole volume once, at the first call of ``predict``.

    Parameters
    ----------
    predictor : Predictor
    classes : of the model, see :class:`BundleRecipe`
    """

    def __init__(self, predictor: Predictor, classes: tuple[int, ...]) -> None:
        self.predictor = predictor
        self.classes = classes
        self._found: torch.Tensor | None = None

    def set_annotation(self, problem: Problem, hidden: frozenset[Plane]) -> None:
        """Predict on the problem's working grid; what is annotated changes nothing."""
        self.problem = problem
        self._on_grid: torch.Tensor | None = None

    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's box."""
        if self._found is None:
            image, self._grid = prepare_for(self.problem.volume.loaded(), self.predictor.card.preprocessing)
            self._found = self.predictor.probabilities(image, token, lambda fraction: None)
        if self._on_grid is None:
            structures = self._found[[*self.classes]]
            chosen = torch.cat([(1 - structures.sum(0, keepdim=True)).clamp(min=0), structures])
            self._on_grid = probabilities_on(chosen, self._grid, self.problem.labels.geometry)
        return self._on_grid[(slice(None), *request.box)][(slice(None), *request.within_box)]
