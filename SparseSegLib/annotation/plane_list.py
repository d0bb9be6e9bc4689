"""The list of annotated planes that lies beside a labels file, as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from SparseSegLib.annotation.planes import ObliquePlane, Plane
from SparseSegLib.errors import FileError, GeometryError
from SparseSegLib.geometry import Geometry
from SparseSegLib.io import write_json

AXES = ("z", "y", "x")


@dataclass(frozen=True)
class PlaneList:
    """What ``FILE.planes.json`` says of the labels in ``FILE``.

    Attributes
    ----------
    planes, oblique : the annotated planes
    names : names of the classes 1..n
    geometry : the grid that the planes count on; None for the labels' own
    checksum : of the labels when the list was written, see :func:`checksum`; None where that is not known
    """

    planes: tuple[Plane, ...]
    names: tuple[str, ...]
    geometry: Geometry | None
    oblique: tuple[ObliquePlane, ...] = ()
    checksum: str | None = None


def planes_path(path: Path) -> Path:
    """Where the planes of the labels at ``path`` are listed: the file's whole name and ``.planes.json``."""
    return path.with_name(path.name + ".planes.json")


def checksum(array: np.ndarray) -> str:
    """A short hash of labels ``(Z, Y, X)`` with values up to 255, to tell edited labels from the listed ones."""
    return hashlib.sha256(np.ascontiguousarray(array, dtype=np.uint8).tobytes()).hexdigest()[:16]


def write_plane_list(path: Path, listed: PlaneList) -> None:
    """Write the list beside the labels at ``path``."""
    content = {
        "format": 1,
        "planes": [{"axis": AXES[plane.axis], "index": plane.index} for plane in listed.planes],
        "oblique": [asdict(pose) for pose in listed.oblique],
        "names": list(listed.names),
        "geometry": None if listed.geometry is None else asdict(listed.geometry),
        "checksum": listed.checksum,
    }
    write_json(planes_path(path), content)


def read_plane_list(path: Path) -> PlaneList | None:
    """The list beside the labels at ``path``, or None if there is none; FileError if it is damaged."""
    beside = planes_path(path)
    if not beside.exists():
        return None
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        planes = {Plane(AXES.index(entry["axis"]), int(entry["index"])) for entry in content["planes"]}
        oblique = tuple(_pose(entry) for entry in content.get("oblique", ()))
        names = tuple(str(name) for name in content["names"])
        geometry = Geometry(**content["geometry"]) if content.get("geometry") else None
        return PlaneList(tuple(sorted(planes)), names, geometry, oblique, content.get("checksum"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, GeometryError) as error:
        raise FileError(
            f"{beside} does not list annotated planes: {error}", "Delete it; the planes are then found in the labels."
        ) from error


def _pose(entry: dict[str, list[float]]) -> ObliquePlane:
    point, normal = ([float(value) for value in entry[name]] for name in ("point", "normal"))
    if len(point) != 3 or len(normal) != 3 or not any(normal):
        raise ValueError(f"no pose of a plane: {entry}")
    return ObliquePlane((point[0], point[1], point[2]), (normal[0], normal[1], normal[2]))
