"""The training slices with their channels, made once and drawn from at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.densify.problem import Problem
from SparseSegLib.prior import AnnotationPrior, PlaneSource, ScribbleSource, SliceView

MOST_SCRIBBLE_SLICES = 24


@dataclass(frozen=True)
class Target:
    """One slice to learn from: where it is, what is labeled on it ``(U, V)``, and the sources that know that."""

    view: SliceView
    labels: torch.Tensor
    sources: frozenset[int]


def targets_of(problem: Problem, prior: AnnotationPrior, held_out: frozenset[int]) -> list[Target]:
    """Every annotated plane that is not held out, and the slices that hold the most scribbles."""
    targets = []
    for number, source in enumerate(prior.sources):
        if number in held_out:
            continue
        if isinstance(source, PlaneSource):
            view = SliceView(source.axis, source.index, prior.shape, prior.spacing)
            targets.append(Target(view, source.labels, frozenset([number])))
        else:
            targets += _scribbled(source, number, prior)
    return targets


def _scribbled(source: ScribbleSource, number: int, prior: AnnotationPrior) -> list[Target]:
    volume = torch.full(prior.shape, UNLABELED, dtype=torch.int64)
    volume[tuple(source.points.T)] = source.classes
    axes = [int(source.points[:, axis].unique().numel()) for axis in range(3)]
    axis = int(np.argmin(axes))
    places, counts = source.points[:, axis].unique(return_counts=True)
    best = places[counts.argsort(descending=True)[:MOST_SCRIBBLE_SLICES]].tolist()
    views = [SliceView(axis, index, prior.shape, prior.spacing) for index in best]
    return [Target(view, view.cut(volume), frozenset([number])) for view in views]


def slab(image: torch.Tensor, view: SliceView, neighbors: int) -> torch.Tensor:
    """A slice of ``(C, Z, Y, X)`` with its neighbors on both sides, ``(C · (2·neighbors + 1), U, V)``.

    Beyond the border the last slice is repeated.
    """
    last = view.shape[view.axis] - 1
    indices = [min(max(view.index + offset, 0), last) for offset in range(-neighbors, neighbors + 1)]
    return image.index_select(1 + view.axis, torch.tensor(indices)).movedim(1 + view.axis, 1).flatten(0, 1)


def features(
    image: torch.Tensor, prior: AnnotationPrior, view: SliceView, keep: tuple[int, ...], neighbors: int
) -> torch.Tensor:
    """The network's input for one slice, ``(C, U, V)``: gray values first, then the prior's channels."""
    return torch.cat([slab(image, view, neighbors), prior.channels(view, keep)])


class SliceBank:
    """Inputs and labels of training slices, padded to one size and stacked.

    Parameters
    ----------
    problem, prior : what the slices are cut from
    held_out : numbers of sources that are neither learned from nor known to any prior
    neighbors : see ``SliceRecipe``
    device : where the stacked tensors live
    """

    def __init__(
        self,
        problem: Problem,
        prior: AnnotationPrior,
        held_out: frozenset[int],
        neighbors: int,
        device: torch.device,
    ) -> None:
        self.image = problem.image
        self.prior = prior
        self.held_out = held_out
        self.neighbors = neighbors
        self.device = device
        self.targets = targets_of(problem, prior, held_out)
        self.entries: list[tuple[int, tuple[int, ...]]] = []
        self.inputs: list[torch.Tensor] = []
        self.drawn: list[torch.Tensor] = []
        self._objects_of = [_objects(source.values()) for source in prior.sources]
        self.size = tuple(max(target.view.size[side] for target in self.targets) for side in range(2))
        keeps = [self.prior.without(set(target.sources | held_out)) for target in self.targets]
        shown = [self._shown(keep) for keep in keeps]
        told_of = [bool(_objects(target.labels) & known) for target, known in zip(self.targets, shown, strict=True)]
        self._leaves_out_unknown = problem.classes > 2 and any(told_of)
        for number, keep in enumerate(keeps):
            self.add(number, keep)

    def add(self, number: int, keep: tuple[int, ...]) -> None:
        """Add the channels of target ``number`` as the sources ``keep`` see it."""
        target = self.targets[number]
        channels = features(self.image, self.prior, target.view, keep, self.neighbors)
        self.entries.append((number, keep))
        self.drawn.append(self._labels(number, keep))
        self.inputs.append(_padded(channels, self.size, 0.0).to(self.device))

    def vary(self, rng: np.random.Generator) -> None:
        """Add a variant of a random target in which one or two further sources are left out."""
        number = int(rng.integers(len(self.targets)))
        keep = list(self.entries[number][1])
        if len(keep) > 2:
            gone = rng.choice(keep, size=min(int(rng.integers(1, 3)), len(keep) - 1), replace=False)
            self.add(number, tuple(source for source in keep if source not in gone))

    def _labels(self, number: int, keep: tuple[int, ...]) -> torch.Tensor:
        """Labels of target ``number`` padded with ``UNLABELED`` to the bank's size.

        Of several structures, one that no source of ``keep`` shows is left out: nothing there tells it from the others.
        """
        labels = self.targets[number].labels
        if self._leaves_out_unknown:
            unknown = _objects(labels) - self._shown(keep)
            labels = torch.where(torch.isin(labels, torch.tensor([*unknown])), UNLABELED, labels) if unknown else labels
        return _padded(labels, self.size, UNLABELED).to(self.device)

    def _shown(self, keep: tuple[int, ...]) -> set[int]:
        return set().union(*(self._objects_of[number] for number in keep))


def _objects(labels: torch.Tensor) -> set[int]:
    """The structures that are labeled."""
    return set(labels.unique().tolist()) - {0, UNLABELED}


def _padded(values: torch.Tensor, size: tuple[int, ...], fill: float) -> torch.Tensor:
    height, width = values.shape[-2:]
    return torch.nn.functional.pad(values, (0, size[1] - width, 0, size[0] - height), value=fill)
