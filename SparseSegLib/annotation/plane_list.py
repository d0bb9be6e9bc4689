"""The list of annotated planes that lies beside a labels file, as JSON."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.annotation.planes import ObliquePlane, Plane
from SparseSegLib.errors import FileError, GeometryError
from SparseSegLib.files import read_json, write_json
from SparseSegLib.image import Geometry

AXES = ("z", "y", "x")
LONGEST_NAME = 255  # bytes: labels whose own name takes nearly all of them have no list
LEAST_MM, MOST_MM = 1e-9, 1e9  # spacings and distances that a volume may have
HINT = "Delete it; the planes are then found in the labels."


@dataclass(frozen=True)
class PlaneList:
    """The content of ``FILE.planes.json``, about the labels in ``FILE``.

    Attributes
    ----------
    planes, oblique : the annotated planes
    names : names of the structures
    geometry : the grid that the planes count on; None for the labels' own
    checksum : of the labels when the list was written, see :func:`checksum`; None where that is not known
    values : of the structures that ``names`` are of; () for 1..n
    explicit : whether 0 is background everywhere in the labels, even where none of them is unlabeled
    """

    planes: tuple[Plane, ...]
    names: tuple[str, ...]
    geometry: Geometry | None
    oblique: tuple[ObliquePlane, ...] = ()
    checksum: str | None = None
    values: tuple[int, ...] = ()
    explicit: bool = False

    @property
    def own_values(self) -> tuple[int, ...]:
        """Values of the structures that ``names`` are of."""
        return self.values or tuple(range(1, len(self.names) + 1))


def planes_path(path: Path) -> Path:
    """The path of the list of planes of the labels at ``path``: the file's whole name and ``.planes.json``."""
    return path.with_name(path.name + ".planes.json")


def checksum(array: np.ndarray) -> str:
    """A short hash of labels ``(Z, Y, X)``, to detect labels that were edited since."""
    small = not array.size or 0 <= array.min() <= array.max() <= np.iinfo(np.uint8).max
    kind = np.dtype(np.uint8 if small else "<i8")
    digest = hashlib.sha256()
    for plane in array:
        digest.update(np.ascontiguousarray(plane, dtype=kind).tobytes())
    return digest.hexdigest()[:16]


def write_plane_list(path: Path, listed: PlaneList) -> None:
    """Write the list beside the labels at ``path``."""
    content = {
        "format": 1,
        "planes": [{"axis": AXES[plane.axis], "index": plane.index} for plane in listed.planes],
        "oblique": [asdict(pose) for pose in listed.oblique],
        "names": list(listed.names),
        "values": list(listed.own_values),
        "geometry": None if listed.geometry is None else asdict(listed.geometry),
        "checksum": listed.checksum,
        "explicit": listed.explicit,
    }
    write_json(planes_path(path), content)


def read_plane_list(path: Path) -> PlaneList | None:
    """The list beside the labels at ``path``, or None if there is none; FileError if it is damaged."""
    beside = planes_path(path)
    if len(os.fsencode(beside.name)) > LONGEST_NAME or not beside.exists():
        return None
    content = read_json(beside, HINT)
    try:
        planes = {_plane(entry) for entry in content["planes"]}
        oblique = tuple(_pose(entry) for entry in content.get("oblique", ()))
        names = tuple(_text(name) for name in content["names"])
        values = tuple(_whole(value) for value in content.get("values", ()))
        if values and len(values) != len(names):
            raise ValueError(f"it has {len(values)} values for {len(names)} names")
        geometry = _geometry(content["geometry"]) if content.get("geometry") else None
        known = content.get("checksum")
        return PlaneList(
            tuple(sorted(planes)),
            names,
            geometry,
            oblique,
            None if known is None else _text(known),
            values,
            content.get("explicit") is True,
        )
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, GeometryError) as error:
        raise FileError(f"{beside} does not list annotated planes: {error}.", HINT) from error


def _plane(entry: dict[str, Any]) -> Plane:
    return Plane(AXES.index(entry["axis"]), _whole(entry["index"]))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _geometry(content: dict[str, Any]) -> Geometry:
    z, y, x = (_whole(size) for size in content["shape"])
    geometry = Geometry(**{**content, "shape": (z, y, x)})
    lengths = np.abs([*geometry.spacing, *geometry.origin, *geometry.direction])
    if min(geometry.spacing) < LEAST_MM or lengths.max() > MOST_MM:
        raise ValueError("its grid is no grid of a volume")
    return geometry


def _pose(entry: dict[str, list[float]]) -> ObliquePlane:
    point, normal = ([float(value) for value in entry[name]] for name in ("point", "normal"))
    length = math.hypot(*normal) if len(normal) == 3 else 0.0
    if len(point) != 3 or not np.isfinite(point).all() or not 1e-6 < length < 1e6:
        raise ValueError(f"no pose of a plane: {entry}")
    return ObliquePlane((point[0], point[1], point[2]), (normal[0], normal[1], normal[2]))
