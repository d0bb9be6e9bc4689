"""The interface of experts, which predict the classes of voxels from sparse labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.problem import Problem
from SparseSegLib.image import Box


@dataclass(frozen=True)
class Request:
    """The part of the working grid to predict, and in which quality.

    Attributes
    ----------
    box : (z, y, x)
    stride : experts that work slice by slice may predict every ``stride``-th one and interpolate between them
    quick : experts that predict in several orientations may use one
    step : (z, y, x) voxels of the box for each that is predicted: of blocks of so many the middle
    """

    box: Box
    stride: int = 1
    quick: bool = False
    step: tuple[int, int, int] = (1, 1, 1)

    @classmethod
    def whole(
        cls, problem: Problem, stride: int = 1, *, quick: bool = False, step: tuple[int, int, int] = (1, 1, 1)
    ) -> Request:
        """All of a problem's working grid."""
        z, y, x = (slice(0, side) for side in problem.labels.array.shape)
        return cls((z, y, x), stride, quick, step)

    @classmethod
    def plane(cls, problem: Problem, plane: Plane) -> Request:
        """One slice of it."""
        return cls.of_plane(problem.labels.array.shape, plane)

    @classmethod
    def of_plane(cls, shape: tuple[int, ...], plane: Plane) -> Request:
        """One slice of a grid of such a ``shape``."""
        z, y, x = (
            slice(plane.index, plane.index + 1) if axis == plane.axis else slice(0, side)
            for axis, side in enumerate(shape)
        )
        return cls((z, y, x))

    @property
    def places(self) -> tuple[range, range, range]:
        """Indices along (z, y, x) of the voxels that are predicted."""
        z, y, x = (
            range(min(side.start + step // 2, side.stop - 1), side.stop, step)
            for side, step in zip(self.box, self.step, strict=True)
        )
        return z, y, x

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many these are along (z, y, x)."""
        z, y, x = map(len, self.places)
        return z, y, x

    @property
    def within_box(self) -> tuple[slice, slice, slice]:
        """Where the places are in the box."""
        z, y, x = (
            slice(places.start - side.start, places.stop - side.start, places.step)
            for places, side in zip(self.places, self.box, strict=True)
        )
        return z, y, x

    def of(self, box: Box) -> Request:
        """The same of another box."""
        return replace(self, box=box)


class Expert(ABC):
    """Predicts class probabilities of one volume from its sparse labels.

    What it predicts depends on the annotation alone, so that the ensemble keeps it, unless it is a
    :class:`TrainableExpert`.
    """

    problem: Problem

    @property
    def ready(self) -> bool:
        """Whether a single slice is predicted at once, since nothing has to be fitted first."""
        return True

    @property
    def is_quick(self) -> bool:
        """Whether a prediction of the whole working grid takes hardly any time; by sizes, not by the clock."""
        return self.problem.is_small

    @abstractmethod
    def set_annotation(self, problem: Problem, hidden: frozenset[Plane]) -> None:
        """Predict from this annotation from now on, without the planes ``hidden`` of the working grid.

        Image and classes stay those that the expert was made for; weights and optimizer stay, too.
        """

    @abstractmethod
    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` float32 on the CPU, of the request's places.

        Raises Canceled or Stopped where the token says so.
        """

    def predict_planes(self, planes: Sequence[Plane], token: CancelToken) -> list[torch.Tensor]:
        """Class probabilities ``(K, U, V)`` of some slices of the working grid."""
        return [self.predict(Request.plane(self.problem, plane), token).squeeze(1 + plane.axis) for plane in planes]

    def seconds(self, request: Request) -> float:
        """Seconds that a prediction would take; 0 where that is negligible."""
        return 0.0


class TrainableExpert(Expert):
    """An expert that learns step by step.

    Attributes
    ----------
    steps : training steps so far
    trained : steps behind the weights that predict, those of an earlier training included
    every : of the steps of the ensemble's first expert, it takes its own at every so many-th
    """

    steps: int
    trained: int
    every: int = 1

    @abstractmethod
    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""

    @abstractmethod
    def shrink(self) -> int:
        """Take half as many patches per step from now on; how many these are, or 0 if there cannot be fewer."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The state that :meth:`load_state_dict` needs to go on to the same result."""

    def weights_dict(self) -> dict[str, Any]:
        """As much of the state as a warm start needs: all of it, unless an expert knows better."""
        return self.state_dict()

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any], *, warm_start: bool = False) -> None:
        """Go on where :meth:`state_dict` was taken, or start from its weights alone.

        Raises ValueError if they do not fit; nothing has changed then.
        """


@runtime_checkable
class ExpertRecipe(Protocol):
    """Configuration of an expert, as a frozen dataclass; a preset is a list of these."""

    @property
    def name(self) -> str:
        """Of the expert, in checkpoints, messages and tables."""
        ...

    @property
    def prior_weight(self) -> float:
        """The expert's weight in the ensemble before held-out slices score it."""
        ...

    @property
    def warmup(self) -> int:
        """Training steps after which it has all of its weight, and its scores count."""
        ...

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """Whether the expert is of use for this problem in so many seconds (None: steps are counted)."""
        ...

    def make(self, problem: Problem, seed: int, device: torch.device) -> Expert:
        """The expert, before any annotation is set."""
        ...
