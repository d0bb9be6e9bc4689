"""The training slices with their channels, made once, and random patches of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.densify.slice_augmentation import SlicePatch, cut_patches, sampling_grid, vary_gray_values
from SparseSegLib.densify.slice_features import SliceFeatures, slice_axis
from SparseSegLib.prior import PlaneSource, ScribbleSource, SliceView

MOST_SCRIBBLE_SLICES = 24
WINDOW = 256
"""Pixels of a side of the part of a slice that channels are computed of, where the region is large."""
KEPT_WINDOWS = 64  # of those that were drawn last


@dataclass(frozen=True)
class TrainingSlice:
    """One slice to learn from: where it is, its labels ``(U, V)``, and the prior's sources that contain them."""

    view: SliceView
    labels: torch.Tensor
    sources: frozenset[int]


class SliceDataset:
    """Channels and labels of training slices, padded to one size; each with a prior computed without it.

    Channels are computed when they are first drawn, and kept.

    Parameters
    ----------
    features : SliceFeatures
    classes : background included
    hidden : planes that are neither learned from nor used by any prior
    device : where the channels are kept
    before : of the annotation before this one; slices that are not in it are drawn first

    Attributes
    ----------
    slices : the training slices
    labels : of each, labels ``(U, V)`` on the device
    new : slices that have not been learned from yet
    """

    def __init__(
        self,
        features: SliceFeatures,
        classes: int,
        hidden: frozenset[Plane],
        device: torch.device,
        before: SliceDataset | None = None,
    ) -> None:
        self.features = features
        self.classes = classes
        self.device = device
        self.slices = training_slices(features, hidden)
        self._inputs: dict[tuple[int, ...], torch.Tensor] = {}
        self._objects_of = [_objects(source.values()) for source in features.prior.sources]
        self.size = tuple(max(one.view.size[side] for one in self.slices) for side in range(2))
        if features.in_parts:
            self.size = tuple(min(side, WINDOW) for side in self.size)
        gone = features.numbers(hidden)
        self._keeps = [features.prior.without(set(one.sources) | gone) for one in self.slices]
        self._ignores_unknown = classes > 2 and any(
            _objects(one.labels) & self._shown(keep) for one, keep in zip(self.slices, self._keeps, strict=True)
        )
        self.labels = [self._labels(one, keep).to(device) for one, keep in zip(self.slices, self._keeps, strict=True)]
        self.new = [] if before is None else [number for number, one in enumerate(self.slices) if not before.has(one)]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inputs": {}}

    def has(self, one: TrainingSlice) -> bool:
        """Whether there is such a slice with the same labels."""
        return any(own.view == one.view and torch.equal(own.labels, one.labels) for own in self.slices)

    def class_counts(self) -> np.ndarray:
        """Labeled pixels of each class, ``(K,)``."""
        counts = np.zeros(self.classes)
        for one in self.slices:
            seen = one.labels[one.labels != UNLABELED]
            counts += np.bincount(seen.numpy(), minlength=self.classes)
        return counts

    def inputs(self, number: int, view: SliceView | None = None) -> torch.Tensor:
        """Channels ``(C, H, W)`` of a slice, or of the part of it that a view shows, on the device."""
        view = view or self.slices[number].view
        key = number, *(side.start for side in view.window)
        if key not in self._inputs:
            if view.part is not None and len(self._inputs) >= KEPT_WINDOWS:
                del self._inputs[next(iter(self._inputs))]
            channels = self.features.of(view, self._keeps[number])
            self._inputs[key] = _padded(channels, self.size, 0.0).to(self.device)
        return self._inputs[key]

    def draw(
        self, batch: int, longest: int, moved: float, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches ``(B, C, H, W)`` and their labels ``(B, H, W)``, at least one pixel labeled.

        Parameters
        ----------
        batch : number of patches
        longest : pixels of a side at most
        moved : fraction of the patches that are turned, scaled and deformed
        rng : numpy.random.Generator
        """
        height, width = (min(longest, -(-(side + 8) // 8) * 8) for side in self.size)
        while True:
            numbers = rng.integers(len(self.slices), size=batch).tolist()
            first, self.new = self.new[:batch], self.new[batch:]
            numbers[: len(first)] = first
            patches = [self._patch(self.slices[number], (height, width), rng) for number in numbers]
            views = [self._view(number, patch.center) for number, patch in zip(numbers, patches, strict=True)]
            patches = [_in_window(patch, view) for patch, view in zip(patches, views, strict=True)]
            places = sampling_grid(patches, (height, width), moved, rng)
            inputs = torch.stack([self.inputs(number, view) for number, view in zip(numbers, views, strict=True)])
            labels = torch.stack(
                [
                    _padded(self.labels[number][view.window], self.size, UNLABELED)
                    for number, view in zip(numbers, views, strict=True)
                ]
            )
            inputs, labels = cut_patches(inputs, labels, places, patches)
            if bool((labels != UNLABELED).any()):
                vary_gray_values(inputs, self.features.gray_channels, rng)
                return inputs, labels

    def _view(self, number: int, center: tuple[float, float]) -> SliceView:
        """The slice, or in a large region the part of it around the ``center`` (pixels) of a patch."""
        view = self.slices[number].view
        return self.features.window(view, center, WINDOW) if self.features.in_parts else view

    def _patch(self, one: TrainingSlice, size: tuple[int, int], rng: np.random.Generator) -> SlicePatch:
        """The position of a random patch: anywhere, or around a pixel of a random class."""
        extent = one.view.size
        first, second = one.view.axes
        spacing = (one.view.spacing[first], one.view.spacing[second])
        if rng.random() < 0.5:
            seen = one.labels.unique()
            label = seen[seen != UNLABELED][int(rng.integers(int((seen != UNLABELED).sum())))]
            places = torch.nonzero(one.labels == label)
            center = tuple(places[int(rng.integers(len(places)))].tolist())
        else:
            center = tuple(rng.uniform(0, side) for side in extent)
        low = [min(part / 2 - 4, side / 2) for part, side in zip(size, extent, strict=True)]
        row, column = (
            min(max(place, least), side - least) for place, least, side in zip(center, low, extent, strict=True)
        )
        return SlicePatch((row, column), extent, spacing)

    def _labels(self, one: TrainingSlice, keep: tuple[int, ...]) -> torch.Tensor:
        """Labels ``(U, V)`` of a slice.

        Of several structures, one that no source of ``keep`` shows is left out: nothing there distinguishes it from the
        others.
        """
        labels = one.labels
        if self._ignores_unknown:
            unknown = _objects(labels) - self._shown(keep)
            labels = torch.where(torch.isin(labels, torch.tensor([*unknown])), UNLABELED, labels) if unknown else labels
        return labels

    def _shown(self, keep: tuple[int, ...]) -> set[int]:
        return set().union(*(self._objects_of[number] for number in keep))


def training_slices(features: SliceFeatures, hidden: frozenset[Plane]) -> list[TrainingSlice]:
    """Every annotated plane that is not hidden, and the slices with the most scribbles."""
    slices = []
    gone = features.numbers(hidden)
    for number, source in enumerate(features.prior.sources):
        if number in gone:
            continue
        if isinstance(source, PlaneSource):
            view = features.view(source.axis, source.index)
            slices.append(TrainingSlice(view, source.labels, frozenset([number])))
        else:
            slices += _scribbled(source, number, features)
    return slices


def _scribbled(source: ScribbleSource, number: int, features: SliceFeatures) -> list[TrainingSlice]:
    axis = slice_axis(source)
    places, counts = source.points[:, axis].unique(return_counts=True)
    best = places[counts.argsort(descending=True)[:MOST_SCRIBBLE_SLICES]].tolist()
    slices = []
    for index in best:
        view = features.view(axis, index)
        labels = torch.full(view.size, UNLABELED, dtype=torch.int64)
        here = source.points[:, axis] == index
        labels[tuple(source.points[here][:, [*view.axes]].T)] = source.classes[here]
        slices.append(TrainingSlice(view, labels, frozenset([number])))
    return slices


def _objects(labels: torch.Tensor) -> set[int]:
    """The structures that are labeled."""
    return set(labels.unique().tolist()) - {0, UNLABELED}


def _in_window(patch: SlicePatch, view: SliceView) -> SlicePatch:
    """A patch of a slice, in the pixels of the part of it that a view shows."""
    rows, columns = view.window
    return replace(patch, center=(patch.center[0] - rows.start, patch.center[1] - columns.start), extent=view.size)


def _padded(values: torch.Tensor, size: tuple[int, ...], fill: float) -> torch.Tensor:
    height, width = values.shape[-2:]
    return torch.nn.functional.pad(values, (0, size[1] - width, 0, size[0] - height), value=fill)
