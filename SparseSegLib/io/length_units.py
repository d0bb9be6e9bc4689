"""The units of length that image files name."""

from __future__ import annotations

import re

_MILLIMETERS = {
    "pm": 1e-9, "angstrom": 1e-7, "nm": 1e-6, "um": 1e-3, "mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0, "in": 25.4,
    "ft": 304.8, "yd": 914.4,
}  # fmt: skip
_OTHER_NAMES = {
    "": "um", "µm": "um", "μm": "um", "\\u00b5m": "um", "micron": "um", "microns": "um", "micrometer": "um",
    "inch": "in", "inches": "in", "millimeter": "mm", "centimeter": "cm", "nanometer": "nm", "meter": "m",
    "picometer": "pm", "decimeter": "dm", "foot": "ft", "yard": "yd", "å": "angstrom",
}  # fmt: skip


def millimeters(unit: str) -> float:
    """Return the length of a unit in mm; an unknown one (pixels) counts as 1."""
    unit = re.sub(r"\s", "", unit).lower()
    return _MILLIMETERS.get(_OTHER_NAMES.get(unit, unit), 1.0)
