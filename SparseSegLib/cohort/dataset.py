"""The training set of a cohort: annotated volumes, all brought to one orientation, spacing and list of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeVar

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.errors import AnnotationError, Canceled, GeometryError, SparseSegError, VolumeError
from SparseSegLib.image import Geometry, Volume, check_volume, resample
from SparseSegLib.patches import LabeledImage
from SparseSegLib.preprocessing import correct_bias_field
from SparseSegLib.preprocessing.grid import Spacing, oriented, prepare, working_grid

T = TypeVar("T")
MOSTLY = 0.5  # of all voxels: labels of as many are no strokes and no slices, but regions


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
            self.labels.validate(background_only=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all classes but background; those without one are called as Slicer calls them."""
        return tuple(name.strip() for name in self.labels.own_names)


@dataclass(frozen=True, eq=False)
class Example:
    """A case on the grid that the network works on.

    Attributes
    ----------
    name : of the case
    image : (C, Z, Y, X) float32, normalized
    labels : (Z, Y, X) uint8; 0, 1..n as in ``names``, or ``UNLABELED``
    names : names of the classes 1..n
    values : what the user's files have for them; () for 1..n
    """

    name: str
    image: torch.Tensor
    labels: np.ndarray
    names: tuple[str, ...]
    values: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples whose labels all count in the classes ``names`` (1..n), on grids of ``spacing`` (z, y, x; mm).

    ``values`` are what the user's files have for these classes; () for 1..n.
    """

    examples: tuple[Example, ...]
    names: tuple[str, ...]
    spacing: Spacing
    values: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        """Input channels of the network."""
        return len(self.examples[0].image)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Median (z, y, x) voxels of the examples."""
        z, y, x = np.median([example.labels.shape for example in self.examples], axis=0).astype(int).tolist()
        return z, y, x

    @property
    def has_structure(self) -> bool:
        """Whether there is a structure in any of the examples; in densely annotated ones there may be none."""
        return any(_has_structure(example.labels) for example in self.examples)

    def check(self) -> None:
        """Raise AnnotationError if there is no structure to learn."""
        if not self.has_structure:
            raise AnnotationError(
                "None of the volumes to learn from has a structure.", "Add a volume in which one is outlined."
            )

    def only(self, numbers: Sequence[int]) -> Dataset:
        """Some of the examples, with all the classes."""
        return replace(self, examples=tuple(self.examples[number] for number in numbers))

    def images(self) -> list[LabeledImage]:
        """The images and labels that patches are cut from."""
        return [LabeledImage(example.image, example.labels) for example in self.examples]


@contextmanager
def naming(case: str) -> Iterator[None]:
    """Add the name of the case to errors."""
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
    """The median (z, y, x) mm of grids, each axis as it runs in the patient; to four significant digits."""
    middle = np.median([oriented(geometry).spacing for geometry in geometries], axis=0)
    z, y, x = (float(f"{step:.4g}") for step in middle)
    return z, y, x


def make_example(case: Case, spacing: Spacing, bias_field: str = "none", normalization: str = "percentiles") -> Example:
    """Check a case and bring it to ``spacing``; an error names the case.

    ``bias_field`` and ``normalization`` are as in :class:`~SparseSegLib.models.Preprocessing`.
    """
    case.check()
    case = replace(case, labels=case.labels.compact())
    grid = working_grid(case.volume.geometry, spacing)
    with naming(case.name):
        labels = _labels_on(case.labels, grid, case.name)
        if _has_structure(case.labels.array) and not _has_structure(labels):
            raise AnnotationError(
                f"Nothing of its annotation is left at {spacing[2]:g} × {spacing[1]:g} × {spacing[0]:g} mm.",
                "Choose a finer spacing.",
            )
    volume = correct_bias_field(case.volume) if bias_field == "n4" else case.volume
    return Example(case.name, prepare(volume, grid, normalization), labels, case.names, case.labels.own_values)


def _has_structure(labels: np.ndarray) -> bool:
    """Whether any voxel is labeled as something else than background."""
    return bool(((labels > 0) & (labels < UNLABELED)).any())


def _labels_on(labels: SparseLabels, grid: Geometry, name: str) -> np.ndarray:
    """Labels (Z, Y, X) on the working grid; nothing unlabeled becomes labeled."""
    if not labels.planes and labels.labeled.mean() >= MOSTLY:
        return resample(labels.array, labels.geometry, grid, order="nearest", fill=UNLABELED)
    return on_grid(labels, grid, name, resample_to=True).array


def make_dataset(examples: Sequence[Example], spacing: Spacing, names: Sequence[str] | None = None) -> Dataset:
    """Put examples together; classes are the same where their names are, in any case.

    A class keeps the value that the first example has for it, unless another class has that already.

    Parameters
    ----------
    examples : at least one
    spacing : (z, y, x) mm that they lie at
    names : of the classes, where these are known already; by default all that the examples have

    Raises
    ------
    VolumeError
        If the examples differ in their channels.
    AnnotationError
        If there is none, or more than 254 classes, or one that is not among ``names``; or two of an example have one
        name.
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
        _check_names(example, names)
    found = _structures(examples) if names is None else {name: value for value, name in enumerate(names, start=1)}
    if len(found) >= UNLABELED:
        raise AnnotationError(f"There are {len(found)} classes, and 254 is the most.", "Merge some of them.")
    classes, values = tuple(found), tuple(found.values())
    renumbered = (
        replace(example, labels=renumbering(example.names, classes)[example.labels], names=classes, values=values)
        for example in examples
    )
    return Dataset(tuple(renumbered), classes, spacing, values)


def _check_names(example: Example, names: Sequence[str] | None) -> None:
    """Raise AnnotationError if two classes have one name, or one is not among ``names``, where these are given."""
    seen: set[str] = set()
    known = None if names is None else {name.casefold() for name in names}
    for value, name in enumerate(example.names, start=1):
        if name.casefold() in seen:
            raise AnnotationError(
                f"{example.name} has two structures called {name}.", "Merge them, or give them different names."
            )
        seen.add(name.casefold())
        if names is not None and known is not None and name.casefold() not in known and (example.labels == value).any():
            raise AnnotationError(
                f"{example.name} has the structure {name}, which no volume to learn from has.",
                f"The structures are {', '.join(names)}.",
            )


def _structures(examples: Sequence[Example]) -> dict[str, int]:
    """The values of all structures by their names, in ascending order."""
    found: dict[str, tuple[str, int]] = {}
    for example in examples:
        values = example.values or range(1, len(example.names) + 1)
        for name, value in zip(example.names, values, strict=True):
            if name.casefold() not in found:
                taken = {other for _, other in found.values()}
                free = value if value not in taken else next(one for one in count(1) if one not in {*taken, UNLABELED})
                found[name.casefold()] = (name, free)
    return dict(sorted(found.values(), key=lambda pair: pair[1]))


def renumbering(names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """A table (256,) uint8 from the values 1..n that ``names`` have to those that the same names have in ``classes``.

    Background stays, and so does unlabeled; what has no name there becomes unlabeled.
    """
    values = {name.casefold(): value for value, name in enumerate(classes, start=1)}
    table = np.full(256, UNLABELED, np.uint8)
    table[0] = 0
    for value, name in enumerate(names, start=1):
        table[value] = values.get(name.casefold(), UNLABELED)
    return table
