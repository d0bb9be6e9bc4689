"""A network that has learned to densify from many other volumes: it predicts at once, and adapts to this one.

Its input is that of ``generalist_features``: any number of image channels, each structure against the rest. In the
budget its last layers and its normalization go on learning from the annotated slices, each with a prior computed
without it; all other weights stay, and these are held near where they began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from SparseSegLib.densify.experts.slice_unet import SliceUNetExpert
from SparseSegLib.densify.generalist_features import LAYOUT, GeneralistFeatures
from SparseSegLib.densify.problem import Problem
from SparseSegLib.errors import FileError
from SparseSegLib.files import atomic_path
from SparseSegLib.files.torch_files import load_torch_file
from SparseSegLib.networks.generalist import EachStructure, Generalist
from SparseSegLib.resources import resource_folders
from SparseSegLib.training.checkpoint import FOREIGN

FOLDERS = resource_folders("Pretrained")
FILE = "generalist.pt"
LEARNED_STEPS = 1000  # steps that the weights count for from the start in the averaged ones
PULL = 2e-3  # of the way back to where it began, at each step


@dataclass(frozen=True)
class GeneralistRecipe:
    """The pretrained generalist.

    Attributes
    ----------
    learning_rate, batch, crop : of the adaptation, in which it learns from so many patches of so many pixels a step
    every : of the ensemble's steps, it takes each ``every``-th
    path : of its weights; None for those that come with SparseSeg
    """

    name: ClassVar[str] = "generalist"
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    batch: int = 2
    crop: int = 96
    moved: float = 0.0
    averaging: float = 0.99
    dice: float = 1.0
    balance: float = 0.0
    every: int = 2
    path: str | None = None
    prior_weight: float = 0.5
    warmup: int = 0

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """Where there are weights, and for regions that are in memory."""
        return not problem.in_parts and _file(self.path) is not None

    def make(self, problem: Problem, seed: int, device: torch.device) -> GeneralistExpert:
        """The expert; FileError if the weights are damaged or of another version."""
        return GeneralistExpert(problem, self, seed, device)


class GeneralistExpert(SliceUNetExpert):
    """Predicts slice by slice from its first step on, and learns from annotated slices.

    Parameters
    ----------
    problem : Problem
    recipe : GeneralistRecipe
    seed : int
    device : torch.device
    """

    recipe: GeneralistRecipe  # type: ignore[assignment]
    network: Adapting

    def __init__(self, problem: Problem, recipe: GeneralistRecipe, seed: int, device: torch.device) -> None:
        self._seen: GeneralistFeatures | None = None
        super().__init__(problem, recipe, seed, device)  # type: ignore[arg-type]
        self.every = recipe.every
        self.averaged.steps = LEARNED_STEPS
        self._began = [one.detach().clone() for one in self.network.parameters() if one.requires_grad]

    def _make_network(self, problem: Problem) -> nn.Module:
        return Adapting(load_generalist(self.recipe.path), problem.classes - 1)

    def _features(self, problem: Problem) -> GeneralistFeatures:
        """Those of the problem, made once."""
        if self._seen is None or self._seen.problem is not problem:
            self._seen = GeneralistFeatures(problem, self._seen)
        return self._seen

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        loss = super().step(rate)
        learned = (one for one in self.network.parameters() if one.requires_grad)
        with torch.no_grad():
            for value, start in zip(learned, self._began, strict=True):
                value.lerp_(start, PULL)
        return loss

    def weights_dict(self) -> dict[str, Any]:
        """The averaged weights that the adaptation changes."""
        return {"averaged": self._own(self.averaged.network.state_dict()), "averaged_steps": self.averaged.steps}

    def state_dict(self) -> dict[str, Any]:
        """Weights that the adaptation changes, optimizer and random numbers."""
        state = super().state_dict()
        return {**state, "network": self._own(state["network"])}

    def load_state_dict(self, state: Mapping[str, Any], *, warm_start: bool = False) -> None:
        """Go on where :meth:`state_dict` was taken, or start from its weights alone."""
        whole = self.network.state_dict()
        full = {name: {**whole, **state[name]} for name in ("averaged", "network") if name in state}
        super().load_state_dict({**state, **full}, warm_start=warm_start)

    def _own(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        learned = {name for name, value in self.network.named_parameters() if value.requires_grad}
        return {name: value for name, value in weights.items() if name in learned}


class Adapting(EachStructure):
    """The network as it is adapted: its last layers and its normalization, statistics excepted.

    Parameters
    ----------
    network : Generalist
    structures : how many
    """

    def __init__(self, network: Generalist, structures: int) -> None:
        super().__init__(network, structures)
        network.requires_grad_(False)
        learned = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
        for block in (*learned, network.synthesis[-1], network.classify, network.guess):
            block.requires_grad_(True)

    def train(self, mode: bool = True) -> Adapting:
        """Stays as it is when it predicts: the statistics of a few slices are none."""
        super().train(False)
        return self


def save_generalist(path: Path, network: Generalist) -> None:
    """Write the weights in half precision."""
    weights = network.state_dict()
    half = {name: value.half().cpu() if value.is_floating_point() else value.cpu() for name, value in weights.items()}
    with atomic_path(path) as temporary:
        torch.save({"arguments": network.arguments, "weights": half}, temporary)


def load_generalist(path: str | None = None) -> Generalist:
    """The network that comes with SparseSeg, or of another file, ready to predict.

    Raises FileError if there is none, or it is damaged or made for another input.
    """
    file = _file(path)
    if file is None:
        raise FileError("There are no weights of the generalist.", "Choose other experts.")
    saved = _saved(file, file.stat().st_mtime_ns)
    try:
        network = Generalist(**saved["arguments"])
        network.load_state_dict(saved["weights"])
    except FOREIGN as error:
        raise FileError(f"{file} has no weights of the generalist: {error}", "Choose other experts.") from error
    if network.layout != LAYOUT:
        raise FileError(f"{file} is of another version.", "Choose other experts.")
    return network.eval().requires_grad_(False)


@cache
def _saved(file: Path, changed: int) -> dict[str, Any]:
    with file.open("rb") as stream:
        return load_torch_file(stream, str(file))


def _file(path: str | None) -> Path | None:
    candidates = [Path(path)] if path else [folder / FILE for folder in FOLDERS]
    return next((one for one in candidates if one.is_file()), None)
