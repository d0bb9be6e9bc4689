"""Cohorts for benchmarks: volumes of one kind with dense labels, their sparse labels, and models of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from SparseSegLib.annotation import Plane, SparseLabels, keep_planes, sparsify
from SparseSegLib.cohort import Case, TrainSettings, make_dataset, make_example, median_spacing, train
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import UsageError
from SparseSegLib.evaluation.files import pair_up
from SparseSegLib.image import Volume
from SparseSegLib.io import default_color, read_labels, read_volume
from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.predictor import Predictor


@dataclass(frozen=True, eq=False)
class Subject:
    """A volume and its true labels ``(Z, Y, X)`` uint8."""

    name: str
    volume: Volume
    truth: np.ndarray

    def annotated(self, planes: Sequence[Plane], names: tuple[str, ...]) -> Case:
        """The volume with these slices annotated."""
        return Case(self.name, self.volume, keep_planes(self.truth, self.volume.geometry, planes, names))

    def dense(self, names: tuple[str, ...]) -> Case:
        """The volume with all voxels labeled."""
        return Case(self.name, self.volume, SparseLabels(self.truth, self.volume.geometry, names=names))

    def spread_planes(self, budget: str) -> tuple[Plane, ...]:
        """``X,Y,Z`` planes per axis, evenly spaced through the objects."""
        x, y, z = map(int, budget.split(","))
        return sparsify(self.truth, self.volume.geometry, (z, y, x)).planes

    def scattered_planes(self, budget: str, rng: np.random.Generator) -> tuple[Plane, ...]:
        """``X,Y,Z`` planes per axis through the objects, one at random in each of as many equal parts of their extent.

        Annotated like this, volumes complete each other: some show the ends, others the middle.
        """
        planes = []
        for axis, count in zip((2, 1, 0), map(int, budget.split(",")), strict=True):
            occupied = np.flatnonzero((self.truth > 0).any(tuple(other for other in range(3) if other != axis)))
            low, high = max(0, occupied[0] - 1), min(self.truth.shape[axis] - 1, occupied[-1] + 1)
            places = low + (high - low + 1) * (np.arange(count) + rng.random(count)) / max(1, count)
            planes += [Plane(axis, int(place)) for place in places]
        return tuple(sorted(set(planes)))

    def merged(self) -> Subject:
        """All objects as one."""
        return replace(self, truth=(self.truth > 0).astype(np.uint8))


def add_cohort_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the volumes are."""
    parser.add_argument("--data", type=Path, help="folder with the usual development volumes: takes hippocampus/")
    parser.add_argument("--cohort", type=Path, help="a folder of your own with images/ and labels/ of the same names")


def subjects_of(arguments: argparse.Namespace, count: int | None = None, seed: int | None = None) -> list[Subject]:
    """The volumes that the arguments name: by name, or shuffled with ``seed``; the first ``count``, or all."""
    folder = arguments.cohort or (arguments.data and arguments.data / "hippocampus")
    if not folder:
        raise UsageError("There are no volumes.", "Give --data or --cohort.")
    pairs = pair_up(folder / "images", folder / "labels").both
    order = np.arange(len(pairs)) if seed is None else np.random.default_rng(seed).permutation(len(pairs))
    if count is not None and count > len(pairs):
        raise UsageError(f"There are {len(pairs)} volumes, and {count} are needed.", "Ask for fewer.")
    chosen = [pairs[number] for number in order[:count]]
    return [
        Subject(name, read_volume(image), read_labels(labels)[0].astype(np.uint8)) for name, image, labels in chosen
    ]


def fit(cases: Sequence[Case], settings: TrainSettings, checkpoint: Path | None = None) -> Predictor:
    """Train on the cases and return the predictor."""
    spacing = settings.spacing or median_spacing([case.volume.geometry for case in cases])
    dataset = make_dataset([make_example(case, spacing) for case in cases], spacing)
    model = train(dataset, settings, checkpoint=checkpoint)
    labels = (ModelLabel(value, name, default_color(value)) for value, name in enumerate(dataset.names, start=1))
    channels = tuple(f"channel {number}" for number in range(1, dataset.channels + 1))
    name = settings.plan.network
    figures = {"steps": model.steps, "seconds": model.seconds}
    preprocessing = Preprocessing(spacing, channels)
    card = ModelCard(
        "benchmark", name, preprocessing, model.window, tuple(labels), arguments=model.arguments, figures=figures
    )
    with torch.random.fork_rng(devices=[]):
        network = create_network(name, dataset.channels, card.classes, **model.arguments)
    network.load_state_dict(model.weights)
    return Predictor(card, network.eval().requires_grad_(False), choose_device(settings.device))
