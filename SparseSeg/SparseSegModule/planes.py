"""The annotated slices of a segmentation, and which of them the user has confirmed; kept in the scene as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from SparseSegLib.annotation import ObliquePlane, Plane

AXES = ("z", "y", "x")


@dataclass(frozen=True)
class AnnotatedPlane:
    """A slice across one of the volume's axes that has strokes on it.

    Attributes
    ----------
    axis, index : the plane, in voxels of the volume (axis 0, 1, 2 for z, y, x)
    finished : whether all that is outside of the segments on it is background; else only its strokes are annotation
    declared : whether the user chose that, rather than strokes
    edited : whether the user still draws on it: nothing is learned from it before it is confirmed
    crossed : (axis, index) of a slice on which a later stroke changed voxels of this confirmed one; () for none
    """

    axis: int
    index: int
    finished: bool = True
    declared: bool = False
    edited: bool = False
    crossed: tuple[int, ...] = ()

    @property
    def plane(self) -> Plane:
        """The engine's name for it."""
        return Plane(self.axis, self.index)


@dataclass(frozen=True)
class PlaneTable:
    """All annotated slices of one segmentation on one volume, in their order."""

    planes: tuple[AnnotatedPlane, ...] = ()
    oblique: tuple[ObliquePlane, ...] = ()

    @classmethod
    def fromText(cls, text: str) -> PlaneTable:
        """Read what :meth:`toText` wrote; text that cannot be read gives an empty table."""
        try:
            content = json.loads(text) if text else {}
            planes = tuple(_plane(entry) for entry in content.get("planes", ()))
            oblique = tuple(
                ObliquePlane(tuple(entry["point"]), tuple(entry["normal"])) for entry in content.get("oblique", ())
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return cls(planes, oblique)

    def toText(self) -> str:
        """As JSON, for the parameter node."""
        oblique = [asdict(pose) for pose in self.oblique]
        return json.dumps({"planes": [asdict(plane) for plane in self.planes], "oblique": oblique})

    def find(self, axis: int, index: int) -> AnnotatedPlane | None:
        """The entry of a slice, if there is one."""
        return next((plane for plane in self.planes if (plane.axis, plane.index) == (axis, index)), None)

    def withPlane(self, plane: AnnotatedPlane) -> PlaneTable:
        """The table with ``plane`` in the place of that slice's entry."""
        others = [other for other in self.planes if (other.axis, other.index) != (plane.axis, plane.index)]
        ordered = sorted([*others, plane], key=lambda entry: (entry.axis, entry.index))
        return replace(self, planes=tuple(ordered))

    def withEdited(self, plane: Plane, *, declared: bool = False) -> PlaneTable:
        """The table with a slice that the user draws on; drawing on one slice confirms every other."""
        entry = self.find(plane.axis, plane.index) or AnnotatedPlane(plane.axis, plane.index)
        edited = replace(entry, edited=True, crossed=(), declared=declared or entry.declared)
        return self.confirmed().withPlane(edited)

    def confirmed(self) -> PlaneTable:
        """The table with every slice confirmed."""
        return replace(self, planes=tuple(replace(plane, edited=False) for plane in self.planes))

    def withCrossed(self, later: Plane, changed: np.ndarray) -> PlaneTable:
        """The table where ``changed`` ``(N, 3)`` voxels (z, y, x) of the slice ``later`` lie on confirmed slices."""
        planes = [
            replace(plane, crossed=(later.axis, later.index))
            if plane.axis != later.axis and plane.finished and bool((changed[:, plane.axis] == plane.index).any())
            else plane
            for plane in self.planes
        ]
        return replace(self, planes=tuple(planes))

    def withoutOblique(self, pose: ObliquePlane) -> PlaneTable:
        """The table without a plane that is oblique to the volume."""
        return replace(self, oblique=tuple(other for other in self.oblique if other != pose))

    def without(self, axis: int, index: int) -> PlaneTable:
        """The table without a slice."""
        kept = tuple(plane for plane in self.planes if (plane.axis, plane.index) != (axis, index))
        return replace(self, planes=kept)

    def withOblique(self, pose: ObliquePlane) -> PlaneTable:
        """The table with a plane that is oblique to the volume."""
        return self if pose in self.oblique else replace(self, oblique=(*self.oblique, pose))

    def withFound(self, planes: Iterable[Plane]) -> PlaneTable:
        """The table with planes that were found in a segmentation drawn earlier, for the user to confirm."""
        table = self
        for plane in planes:
            if table.find(plane.axis, plane.index) is None:
                table = table.withPlane(AnnotatedPlane(plane.axis, plane.index, declared=True))
        return table

    @property
    def finished(self) -> tuple[Plane, ...]:
        """The planes on which everything is labeled, that of :attr:`edited` included."""
        return tuple(plane.plane for plane in self.planes if plane.finished)

    @property
    def learned(self) -> tuple[Plane, ...]:
        """The finished planes but the one that is being edited: those to learn from."""
        return tuple(plane for plane in self.finished if plane != self.edited)

    @property
    def edited(self) -> Plane | None:
        """The slice that is being edited, if there is one."""
        return next((plane.plane for plane in self.planes if plane.edited), None)


def _plane(entry: dict[str, Any]) -> AnnotatedPlane:
    return AnnotatedPlane(**{**entry, "crossed": tuple(entry.get("crossed", ()))})
