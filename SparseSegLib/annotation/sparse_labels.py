"""Sparse labels: a class for the voxels that the user labeled, and "unlabeled" for all others."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from SparseSegLib.annotation.checks import check_planes
from SparseSegLib.annotation.planes import ObliquePlane, Plane
from SparseSegLib.annotation.values import check_structures, encoded, values_in
from SparseSegLib.errors import AnnotationError, GeometryError
from SparseSegLib.image import Box, Geometry
from SparseSegLib.image.label_values import counts_in
from SparseSegLib.image.large_array import copy_of, new_array
from SparseSegLib.io.segmentation import default_segment

UNLABELED = 255
"""The value of unlabeled voxels."""


@dataclass(frozen=True, eq=False)
class SparseLabels:
    """A sparse annotation of one volume.

    Attributes
    ----------
    array : (Z, Y, X) uint8
        0 is background, 1..n are the classes, ``UNLABELED`` is everything else.
    geometry : Geometry
        The grid, the same as the volume's.
    planes : annotated planes
        On each of them every voxel is labeled, but for those where nothing may be drawn.
    names : names of the classes 1..n
    oblique : annotated planes that are oblique to the grid
        On the voxels of each (see :meth:`ObliquePlane.mask`) there are labels too.
    values : what the user's files have for the classes 1..n; () where it is 1..n itself
    empty : (value, name) of the user's structures that no voxel belongs to, and that are no classes
    """

    array: np.ndarray
    geometry: Geometry
    planes: tuple[Plane, ...] = ()
    names: tuple[str, ...] = ()
    oblique: tuple[ObliquePlane, ...] = ()
    values: tuple[int, ...] = ()
    empty: tuple[tuple[int, str], ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        packed = zlib.compress(np.ascontiguousarray(self.array).data, 1)  # most of it is one value
        return {**self.__dict__, "array": (packed, self.array.shape, self.array.dtype)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        packed, shape, dtype = state["array"]
        array = new_array(shape, dtype)
        array.ravel()[...] = np.frombuffer(zlib.decompress(packed), dtype)
        self.__dict__.update(state, array=array)

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        seen = np.flatnonzero(counts_in(self.array)[:UNLABELED])
        return max(len(self.names), len(self.values), int(seen[-1]) if seen.size else 0) + 1

    @property
    def own_values(self) -> tuple[int, ...]:
        """The values of the classes 1..n in the user's files."""
        return self.values or tuple(range(1, self.classes))

    @property
    def own_names(self) -> tuple[str, ...]:
        """Names of the classes 1..n; one without a name is called as Slicer calls it."""
        given = [*self.names, *[""] * len(self.own_values)]
        return tuple(
            name if name.strip() else default_segment(value).name
            for value, name in zip(self.own_values, given, strict=False)
        )

    @cached_property
    def digest(self) -> str:
        """A short hash of the array as it is when this is asked first: that of the same labels is the same."""
        return hashlib.sha256(np.ascontiguousarray(self.array).data).hexdigest()[:16]

    @property
    def labeled(self) -> np.ndarray:
        """Mask of the labeled voxels."""
        return self.array != UNLABELED

    @property
    def scribbles(self) -> np.ndarray:
        """Mask of the labeled voxels off every annotated plane of the grid."""
        mask = self.labeled
        for plane in self.planes:
            mask[plane.voxels] = False
        return mask

    @property
    def scribble_points(self) -> np.ndarray:
        """The same as voxels (z, y, x), ``(N, 3)``, in their order in the array; found slice by slice."""
        axial, rows, columns = ([plane.index for plane in self.planes if plane.axis == axis] for axis in range(3))
        found = [np.zeros((0, 3), np.int64)]
        for index in sorted({*range(len(self.array))} - {*axial}):
            labeled = self.array[index] != UNLABELED
            labeled[rows] = False
            labeled[:, columns] = False
            points = np.argwhere(labeled)
            found.append(np.insert(points, 0, index, 1))
        return np.concatenate(found)

    @property
    def strokes(self) -> np.ndarray:
        """Mask of the labeled voxels off every annotated plane, oblique ones included."""
        mask = self.scribbles
        for pose in self.oblique:
            mask &= ~pose.mask(self.geometry)
        return mask

    def validate(self, *, background_only: bool = False) -> None:
        """Raise AnnotationError if nothing can be learned from these labels, GeometryError if they are malformed.

        With ``background_only`` there may be no object in a volume of which every voxel is labeled.
        """
        if self.array.shape != self.geometry.shape:
            raise GeometryError(f"Labels of shape {self.array.shape} do not fit a grid of {self.geometry.shape}.")
        check_planes(self.planes, self.geometry)
        if len(self.names) >= UNLABELED:
            raise AnnotationError(f"There are {len(self.names)} classes, and 254 is the most.", "Merge some of them.")
        if self.values and len(set(self.values)) != self.classes - 1:
            raise AnnotationError(
                f"There are {len(set(self.values))} values for {self.classes - 1} classes.", "Give each a value."
            )
        counts = counts_in(self.array)[:UNLABELED]
        there = np.flatnonzero(counts)
        if not there.size:
            raise AnnotationError("No voxel is labeled.", "Outline the structure on at least one slice.")
        if background_only and counts[0] == self.array.size:
            return
        if there.size == 1 and there[0] == 0:
            raise AnnotationError(
                "All labeled voxels are background.", "Outline the structure on one of the annotated slices."
            )
        if there.size == 1:
            name = self.own_names[there[0] - 1]
            raise AnnotationError(
                f"All labeled voxels belong to {name}; there is no background to tell it from.",
                "Finish a slice, so that the rest of it counts as background, or draw some background.",
            )

    def compact(self) -> SparseLabels:
        """The same labels with the classes that occur and no others, which become ``empty``."""
        there = [value for value in values_in(self.array) if 0 < value < UNLABELED]
        if len(there) == self.classes - 1:
            return self
        own = list(zip(self.own_values, self.own_names, strict=True))
        codes = {0: 0, UNLABELED: UNLABELED, **{old: new for new, old in enumerate(there, start=1)}}
        kept = [own[number - 1] for number in there]
        return replace(
            self,
            array=encoded(self.array, codes),
            names=tuple(name for _, name in kept),
            values=tuple(value for value, _ in kept),
            empty=tuple(sorted({*self.empty, *own} - {*kept})),
        )

    def renamed(self, names: Mapping[int, str]) -> SparseLabels:
        """The same labels with other names, by the values that the user's files have; the other names stay."""
        own = zip(self.own_values, self.own_names, strict=True)
        return replace(self, names=tuple(names.get(value) or name for value, name in own))

    def without(self, *planes: Plane) -> SparseLabels:
        """The same labels as if ``planes`` had not been annotated; where other planes cross them labels stay."""
        others = tuple(other for other in self.planes if other not in planes)
        array = copy_of(self.array)
        for plane in planes:
            array[plane.voxels] = UNLABELED
        for other in others:
            array[other.voxels] = self.array[other.voxels]
        for pose in self.oblique:
            np.copyto(array, self.array, where=pose.mask(self.geometry))
        return replace(self, array=array, planes=others)

    def only(self, planes: Iterable[Plane]) -> SparseLabels:
        """The labels on these planes, which must be annotated ones, and nothing else: no scribbles."""
        kept = tuple(sorted(set(planes)))
        if not set(kept) <= set(self.planes):
            raise AnnotationError("These slices are not all annotated.", "Choose among the annotated ones.")
        array = np.full_like(self.array, UNLABELED)
        for plane in kept:
            array[plane.voxels] = self.array[plane.voxels]
        return replace(self, array=array, planes=kept, oblique=())

    def merge(self, other: SparseLabels) -> SparseLabels:
        """Both annotations of one volume together; where both have a label, the other's counts."""
        if not self.geometry.matches(other.geometry):
            raise GeometryError(f"The labels differ in their grids: {self.geometry.difference(other.geometry)}.")
        if self.own_values != other.own_values and (self.values or other.values):
            values = tuple(sorted({*self.own_values, *other.own_values}))
            check_structures(values, "The annotation")
            return self._in_classes(values, other).merge(other._in_classes(values, self))
        array = np.where(other.labeled, other.array, self.array)
        names = other.names if len(other.names) > len(self.names) else self.names
        planes = tuple(sorted({*self.planes, *other.planes}))
        oblique = tuple(dict.fromkeys((*self.oblique, *other.oblique)))
        empty = tuple(sorted({*self.empty, *other.empty}))
        return replace(self, array=array, planes=planes, names=names, oblique=oblique, empty=empty)

    def _in_classes(self, values: tuple[int, ...], other: SparseLabels) -> SparseLabels:
        """The labels with classes for all of ``values``, and the names that only the ``other`` labels have."""
        codes = {0: 0, UNLABELED: UNLABELED}
        codes |= {number: values.index(value) + 1 for number, value in enumerate(self.own_values, start=1)}
        known = {
            value: name for one in (other, self) for value, name in zip(one.own_values, one.own_names, strict=True)
        }
        return replace(
            self,
            array=encoded(self.array, codes),
            names=tuple(known[value] for value in values),
            values=values,
            empty=tuple(pair for pair in self.empty if pair[0] not in values),
        )

    def crop(self, box: Box) -> SparseLabels:
        """The part inside ``box``; planes move along, those outside of it go."""
        planes = tuple(
            Plane(plane.axis, plane.index - box[plane.axis].start)
            for plane in self.planes
            if box[plane.axis].start <= plane.index < box[plane.axis].stop
        )
        return replace(self, array=self.array[box], geometry=self.geometry.crop(box), planes=planes)

    def bounding_box(self, of: Literal["objects", "labeled"] = "objects") -> Box:
        """The smallest box around all object voxels, or around all labeled ones."""
        there = [np.zeros(size, bool) for size in self.array.shape]
        for index, drawn in enumerate(self.array):  # slice by slice: masks of a large volume take as much as it does
            mask = drawn != UNLABELED
            if of == "objects":
                mask &= drawn > 0
            there[0][index] = mask.any()
            there[1] |= mask.any(1)
            there[2] |= mask.any(0)
        sides = []
        for along in there:
            places = np.flatnonzero(along)
            if not places.size:
                raise AnnotationError("No voxel is labeled.", "Outline the structure on at least one slice.")
            sides.append(slice(int(places[0]), int(places[-1]) + 1))
        return sides[0], sides[1], sides[2]
