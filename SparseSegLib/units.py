"""Lengths, volumes and amounts of data as people read them: in the unit that fits, never as 0.00."""

from __future__ import annotations

import math
from collections.abc import Sequence

_LENGTHS = ((0.1, 1.0, "mm"), (1e-4, 1e3, "µm"), (0.0, 1e6, "nm"))  # from how many mm, units a mm, unit
_VOLUMES = ((0.1, 1.0, "ml"), (1e-6, 1e3, "mm³"), (0.0, 1e12, "µm³"))  # from how many ml, units a ml, unit
_DATA = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))


def number_text(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, without exponent and without zeros at its end."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:.{max(0, decimals)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def length_unit(mm: float) -> tuple[float, str]:
    """Return the unit that fits a length, mm, µm or nm, and before it how many of it are a mm."""
    return _fitting(_LENGTHS, abs(mm) or 1.0)


def length_text(mm: float, digits: int = 3) -> str:
    """Return a length in mm, µm or nm."""
    return lengths_text((mm,), digits)


def lengths_text(mm: Sequence[float], digits: int = 3, by: str = " × ") -> str:
    """Return lengths in one unit, that of the smallest which is not 0, as in ``0.98 × 0.98 × 3 mm``."""
    factor, unit = _fitting(_LENGTHS, min((abs(one) for one in mm if one and math.isfinite(one)), default=1.0))
    return f"{by.join(number_text(one * factor, digits) for one in mm)} {unit}"


def volume_text(ml: float, digits: int = 3) -> str:
    """Return a volume in ml, mm³ (which is µl) or µm³."""
    factor, unit = _fitting(_VOLUMES, abs(ml) or 1.0)
    return f"{number_text(ml * factor, digits)} {unit}"


def offset_text(mm: float) -> str:
    """Return a distance from the origin, as in ``12.35 mm``: decimals stay whatever lies before them."""
    factor, unit = _fitting(_LENGTHS, abs(mm) or 1.0)
    return f"{_place(mm * factor)} {unit}"


def position_text(ras_mm: Sequence[float]) -> str:
    """Return a point in 3D Slicer's coordinates, as in ``R 12.3, A -4.5, S 30.1 mm``."""
    factor, unit = _fitting(_LENGTHS, max(map(abs, ras_mm)) or 1.0)
    parts = (f"{letter} {_place(one * factor)}" for letter, one in zip("RAS", ras_mm, strict=True))
    return f"{', '.join(parts)} {unit}"


def data_text(size: float) -> str:
    """Return an amount of data in bytes, KiB, MiB or GiB."""
    least, unit = next((pair for pair in _DATA if size >= pair[0]), _DATA[-1])
    return f"{number_text(size / least)} {unit}"


def _fitting(units: Sequence[tuple[float, float, str]], value: float) -> tuple[float, str]:
    return next((factor, unit) for least, factor, unit in units if not value < least)


def _place(value: float) -> str:
    """A coordinate: two decimals are enough beside a unit that fits."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
