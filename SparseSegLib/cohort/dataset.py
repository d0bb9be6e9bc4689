"""What a cohort learns from: annotated volumes, all brought to one orientation, spacing and list of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.densify.patch_trainer import LabeledImage
from SparseSegLib.errors import AnnotationError, Canceled, GeometryError, SparseSegError, VolumeError
from SparseSegLib.geometry import Geometry, resample
from SparseSegLib.io import default_segment
from SparseSegLib.preprocessing.grid import Spacing, oriented, prepare, working_grid
from SparseSegLib.volume import Volume, check_volume

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A volume and its annotation; ``name`` is what to call it in messages."""

    name: str
    volume: Volume
    labels: SparseLabels

    def check(self) -> None:
        """Raise an error that names the case if nothing can be learned from it."""
        with naming(self.name):
            check_volume(self.volume)
            if not self.labels.geometry.matches(self.volume.geometry):
                raise GeometryError(
                    f"The labels do not lie on the volume's grid: "
                    f"{self.labels.geometry.difference(self.volume.geometry)}.",
                    "Resample the labels to the volume.",
                )
            self.labels.validate()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all classes but background; those without one are called as Slicer calls them."""
        given = [name.strip() for name in self.labels.names]
        return tuple(
            (given[value - 1] if value <= len(given) else "") or default_segment(value).name
            for value in range(1, self.labels.classes)
        )


@dataclass(frozen=True, eq=False)
class Example:
    """A case on the grid that the network works on.

    Attributes
    ----------
    name : of the case
    image : (C, Z, Y, X) float32, normalized
    labels : (Z, Y, X) uint8; 0, 1..n as in ``names``, or ``UNLABELED``
    names : names of the classes 1..n
    """

    name: str
    image: torch.Tensor
    labels: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples whose labels all count in the classes ``names`` (1..n), on grids of ``spacing`` (z, y, x; mm)."""

    examples: tuple[Example, ...]
    names: tuple[str, ...]
    spacing: Spacing

    @property
    def channels(self) -> int:
        """Input channels of the network."""
        return len(self.examples[0].image)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Median (z, y, x) voxels of the examples."""
        z, y, x = np.median([example.labels.shape for example in self.examples], axis=0).astype(int).tolist()
        return z, y, x

    def images(self) -> list[LabeledImage]:
        """What patches are cut from."""
        return [LabeledImage(example.image, example.labels) for example in self.examples]


@contextmanager
def naming(case: str) -> Iterator[None]:
    """Let whatever goes wrong with a case say which one it was."""
    try:
        yield
    except SparseSegError as error:
        raise type(error)(f"{case}: {error.message}", error.hint) from error


def for_all(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of them, then return what they return, or raise the first error, which lists the others too."""
    results, errors = [], []
    for work in works:
        try:
            results.append(work())
        except Canceled:
            raise
        except SparseSegError as error:
            errors.append(error)
    if errors:
        raise type(errors[0])("\n".join(error.message for error in errors), errors[0].hint)
    return results


def median_spacing(geometries: Sequence[Geometry]) -> Spacing:
    """The median (z, y, x) mm of grids, each axis as it runs in the patient; to a thousandth of a mm."""
    z, y, x = np.median([oriented(geometry).spacing for geometry in geometries], axis=0).round(3).tolist()
    return z, y, x


def make_example(case: Case, spacing: Spacing) -> Example:
    """Check a case and bring it to ``spacing``; an error names the case."""
    case.check()
    grid = working_grid(case.volume.geometry, spacing)
    with naming(case.name):
        labels = _labels_on(case.labels, grid, case.name)
        if not ((labels > 0) & (labels < UNLABELED)).any():
            raise AnnotationError(
                f"Nothing of its annotation is left at {spacing[2]:g} × {spacing[1]:g} × {spacing[0]:g} mm.",
                "Choose a finer spacing.",
            )
    return Example(case.name, prepare(case.volume, grid), labels, case.names)


def _labels_on(labels: SparseLabels, grid: Geometry, name: str) -> np.ndarray:
    """Labels (Z, Y, X) on the working grid; nothing unlabeled becomes labeled."""
    if labels.labeled.all():
        return resample(labels.array, labels.geometry, grid, order="nearest", fill=UNLABELED)
    return on_grid(labels, grid, name, resample_to=True).array


def make_dataset(examples: Sequence[Example], spacing: Spacing) -> Dataset:
    """Put examples together; classes are the same where their names are, in any case.

    Raises
    ------
    VolumeError
        If the examples differ in their channels.
    AnnotationError
        If there is none, or more than 254 classes.
    """
    if not examples:
        raise AnnotationError("There are no annotated volumes to learn from.", "Give at least one.")
    first = examples[0]
    for example in examples:
        if len(example.image) != len(first.image):
            raise VolumeError(
                f"{example.name} has {len(example.image)} channels, and {first.name} has {len(first.image)}.",
                "Give the same channels, in the same order, for every case.",
            )
    names: dict[str, str] = {}
    for example in examples:
        for name in example.names:
            names.setdefault(name.casefold(), name)
    if len(names) >= UNLABELED:
        raise AnnotationError(f"There are {len(names)} classes, and 254 is the most.", "Merge some of them.")
    values = {key: value for value, key in enumerate(names, start=1)}
    return Dataset(tuple(_renumbered(example, values) for example in examples), tuple(names.values()), spacing)


def _renumbered(example: Example, values: dict[str, int]) -> Example:
    table = np.full(256, UNLABELED, np.uint8)
    table[0] = 0
    for value, name in enumerate(example.names, start=1):
        table[value] = values[name.casefold()]
    return replace(example, labels=table[example.labels])
