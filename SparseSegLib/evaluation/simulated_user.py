"""A simulated user, who annotates a volume slice by slice, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from SparseSegLib.annotation import Plane, SparseLabels, keep_planes
from SparseSegLib.annotation.checks import check_labelmap
from SparseSegLib.errors import AnnotationError, GeometryError
from SparseSegLib.image import Geometry


class Segmented(Protocol):
    """What a tool makes of an annotation; a ``DensifyResult`` is one."""

    @property
    def labels(self) -> np.ndarray:
        """Classes ``(Z, Y, X)`` of the whole volume."""

    @property
    def next_slice(self) -> Plane | None:
        """The slice that the tool suggests to annotate next."""


Tool = Callable[[SparseLabels], Segmented]
"""Segments a volume from its annotation."""
Choice = Callable[[SparseLabels, Segmented], Plane | None]
"""Which slice to annotate next, from the annotation and what the tool made of it; None to end."""


@dataclass(frozen=True)
class Round:
    """A slice that was annotated, and what the tool then made of the annotation.

    Attributes
    ----------
    plane : the slice
    voxels : how many were drawn, erased or given to another class on it
    seconds : how long the tool took
    labels : the annotation, with the slice
    result : what the tool made of it
    """

    plane: Plane
    voxels: int
    seconds: float
    labels: SparseLabels
    result: Segmented


def suggested(labels: SparseLabels, result: Segmented) -> Plane | None:
    """The slice that the tool suggests."""
    return result.next_slice


class SimulatedUser:
    """Someone who knows the truth about a volume and annotates it slice by slice.

    The slices become exactly the truth, every voxel of them, and nothing off them is drawn. The effort is the number of
    voxels that change on a slice, and the waiting for the tool. Not simulated are inaccuracy, scribbles, the time that
    drawing and looking for the slice take, and that an outline costs less than its area. Nothing is random.

    Parameters
    ----------
    truth : (Z, Y, X) integers
        0 is background, 1..n are the structures.
    geometry : its grid
    names : of the structures

    Raises
    ------
    GeometryError
        If the truth does not fit the grid.
    AnnotationError
        If the truth has no structure, or values that are no classes.
    """

    def __init__(self, truth: np.ndarray, geometry: Geometry, names: tuple[str, ...] = ()) -> None:
        check_labelmap(truth, geometry)
        if not truth.any():
            raise AnnotationError("The labelmap is empty.", "Choose one with a segment in it.")
        self.truth = truth
        self.geometry = geometry
        self.names = names

    def largest_slice(self, axis: int = 0, structures: Iterable[int] | None = None) -> Plane:
        """The slice across ``axis`` (0, 1, 2 for z, y, x) that shows most of the structures; the first such one.

        ``structures`` are classes of the truth, by default all.
        """
        there = self.truth if structures is None else np.isin(self.truth, list(structures))
        shown = np.count_nonzero(there, axis=tuple(other for other in range(3) if other != axis))
        return Plane(axis, int(shown.argmax()))

    def undrawn(self, labels: SparseLabels) -> list[int]:
        """The structures that no slice of an annotation shows, so that no tool can know of them."""
        return np.setdiff1d(self.truth, [0, *labels.array[labels.labeled]]).tolist()

    def draw(self, planes: Iterable[Plane]) -> tuple[SparseLabels, int]:
        """Draw slices from nothing; the annotation, and how many voxels were drawn, each once where slices cross."""
        labels = keep_planes(self.truth, self.geometry, planes, self.names)
        return labels, int(np.count_nonzero(self.truth[labels.labeled]))

    def correct(self, labels: SparseLabels, plane: Plane, shown: np.ndarray) -> tuple[SparseLabels, int]:
        """Correct a slice of what is shown; the annotation with that slice, and how many voxels changed.

        Parameters
        ----------
        labels : the annotation so far
        plane : the slice
        shown : (Z, Y, X) integers
            The classes that the user sees there, such as a tool's result.

        Raises
        ------
        GeometryError
            If ``shown`` does not fit the truth, or the slice is not in the volume.
        """
        if shown.shape != self.truth.shape:
            raise GeometryError(f"A result of shape {shown.shape} does not fit a truth of {self.truth.shape}.")
        drawn = keep_planes(self.truth, self.geometry, [plane], self.names)
        changed = int(np.count_nonzero(shown[plane.voxels] != self.truth[plane.voxels]))
        return labels.merge(drawn), changed

    def rounds(self, tool: Tool, most: int, choose: Choice = suggested) -> Iterator[Round]:
        """Annotate slice by slice, each time correcting in place what the tool made of the slices before.

        The first slice is the largest one across z, drawn from nothing. While there are structures that no slice shows,
        the next one is the largest one of these; then ``choose`` has the choice. It ends after ``most`` slices, and
        earlier where ``choose`` has none, or one that is annotated already.
        """
        labels = keep_planes(self.truth, self.geometry, (), self.names)
        shown: np.ndarray = np.zeros_like(self.truth)
        plane: Plane | None = self.largest_slice()
        while plane is not None and plane not in labels.planes and len(labels.planes) < most:
            labels, voxels = self.correct(labels, plane, shown)
            start = time.monotonic()
            result = tool(labels)
            seconds = time.monotonic() - start
            yield Round(plane, voxels, seconds, labels, result)
            shown = result.labels
            undrawn = self.undrawn(labels)
            plane = self.largest_slice(structures=undrawn) if undrawn else choose(labels, result)
