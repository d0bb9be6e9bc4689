"""The names and colors that an OME-Zarr image of labels gives its values."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from SparseSegLib.io.ome_zarr.description import LABEL_IMAGE, image_at, labels_at, notes_of
from SparseSegLib.io.segmentation import LARGEST_VALUE, SegmentInfo, default_segment, known_algorithm


def zarr_segments(path: Path) -> list[SegmentInfo]:
    """Return the segments that an image of labels describes, in order; what cannot be is passed over."""
    notes = notes_of(labels_at(path)).get(LABEL_IMAGE)
    notes = notes if isinstance(notes, dict) else {}
    found: dict[int, SegmentInfo] = {}
    for entry in _entries(notes, "properties"):
        value = entry["label-value"]
        name, terminology, algorithm = (_text(entry, key) for key in ("name", "terminology", "algorithm"))
        segment = default_segment(value)
        found[value] = replace(
            segment, name=name or segment.name, terminology=terminology, algorithm=known_algorithm(algorithm)
        )
    for entry in _entries(notes, "colors"):
        value = entry["label-value"]
        segment = found.get(value) or default_segment(value)
        found[value] = replace(segment, color=_color(entry.get("rgba")) or segment.color)
    return list(found.values())


def is_label_image(path: Path) -> bool:
    """Return whether an OME-Zarr image is one of labels by its own description."""
    return LABEL_IMAGE in notes_of(image_at(path))


def _entries(notes: dict[str, Any], key: str) -> list[dict[str, Any]]:
    listed = notes.get(key)
    entries = listed if isinstance(listed, list) else []
    return [one for one in entries if isinstance(one, dict) and _is_value(one.get("label-value"))]


def _text(entry: dict[str, Any], key: str) -> str:
    text = entry.get(key)
    return text.strip() if isinstance(text, str) else ""


def _is_value(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_VALUE


def _color(rgba: Any) -> tuple[float, float, float] | None:
    if not isinstance(rgba, list) or len(rgba) not in (3, 4):
        return None
    if not all(isinstance(part, (int, float)) and 0 <= part <= 255 and math.isfinite(part) for part in rgba):
        return None
    red, green, blue = (round(part / 255, 4) for part in rgba[:3])
    return (red, green, blue)
