"""The place of a slice as in 3D Slicer: its orientation, its index and its position in RAS mm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from SparseSegLib.image.geometry import Geometry
from SparseSegLib.units import position_text

ORIENTATIONS = ("sagittal", "coronal", "axial")
_CLEARLY = 0.75  # cosine of the angle to the anatomical axis: less is called oblique
_ALONG = 0.9999
_DECIMALS = 9  # of mm: what is left of rounding goes


def to_ras(points: Any) -> list[Any]:
    """Return LPS (x, y, z) points or vectors, (3,) or (N, 3), as nested lists in RAS, without a negative zero."""
    return (np.asarray(points, dtype=float) * (-1.0, -1.0, 1.0) + 0.0).tolist()


def orientation(geometry: Geometry, axis: int) -> str:
    """Return what slices along an axis (0, 1, 2 for z, y, x) are called: axial, coronal, sagittal or oblique."""
    normal = np.abs(_normal(geometry, axis))
    largest = int(normal.argmax())
    return ORIENTATIONS[largest] if normal[largest] >= _CLEARLY else "oblique"


def slice_place(geometry: Geometry, axis: int, index: int) -> dict[str, Any]:
    """Return where a slice lies: ``axis``, ``index``, ``orientation`` and the RAS mm of its center, ``ras_mm``."""
    center = (np.array(geometry.shape) - 1) / 2
    center[axis] = index
    return {
        "axis": "zyx"[axis],
        "index": index,
        "orientation": orientation(geometry, axis),
        "ras_mm": to_ras(geometry.index_to_physical(center).round(_DECIMALS)),
    }


def slice_position(geometry: Geometry, axis: int, index: int) -> str:
    """Return a slice's position as 3D Slicer's slice views show it, ``S 30.1 mm``; of an oblique one its center."""
    ras = slice_place(geometry, axis, index)["ras_mm"]
    normal = np.abs(_normal(geometry, axis))
    if normal.max() < _ALONG:
        return position_text(ras)
    return _one_of(position_text(ras), int(normal.argmax()))


def place_text(place: Mapping[str, Any]) -> str:
    """Return a place that `slice_place` gave in words: ``axial slice z = 12, center at R 1, A -4.5, S 30.1 mm``."""
    where = f"{place['axis']} = {place['index']}"
    if place.get("orientation", "oblique") != "oblique":
        where = f"{place['orientation']} slice, {where}"
    return f"{where}, center at {position_text(place['ras_mm'])}" if "ras_mm" in place else where


def _normal(geometry: Geometry, axis: int) -> np.ndarray:
    """The direction of an axis, LPS (x, y, z), unit length."""
    vector = geometry.affine()[:3, axis]
    return vector / np.linalg.norm(vector)


def _one_of(text: str, number: int) -> str:
    values, unit = text.rsplit(" ", 1)
    parts: Sequence[str] = values.split(", ")
    return f"{parts[number]} {unit}"
