"""Units in which a table's figures can be read: millimeters and milliliters, or smaller ones."""

from __future__ import annotations

import math
from collections.abc import Iterable

Units = tuple[tuple[str, float], ...]

LENGTHS: Units = (("mm", 1.0), ("µm", 1e3), ("nm", 1e6))
"""Units of lengths, and how many of each a millimeter has."""

VOLUMES: Units = (("ml", 1.0), ("mm³", 1e3), ("µm³", 1e12))
"""Units of volumes, and how many of each a milliliter has."""

LEAST = 0.1


def suitable_unit(values: Iterable[float], units: Units) -> tuple[str, float]:
    """The first of ``units`` in which the largest of ``values`` (in the first unit) is 0.1 or more."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return next((unit for unit in units if largest * unit[1] >= LEAST), units[-1] if largest else units[0])


def number_text(value: float, form: str) -> str:
    """A number in ``form``, as ".2f"; with two significant digits where that would read 0, "–" for none."""
    if not math.isfinite(value):
        return "–"
    text = format(value, form)
    return text if value == 0 or float(text) else f"{value:.2g}"
