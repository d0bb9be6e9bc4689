"""Regions as users write them: the structures that each is made of, by name or by number. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from SparseSegLib.errors import UsageError

WORDS = ("nested", "separate")


def numbered(regions: str | Sequence[str], names: Sequence[str]) -> str | list[str]:
    """Regions as networks take them, with numbers for names.

    Parameters
    ----------
    regions : "nested" or "separate", or sums like ``("edema+core", "core")``
    names : of the classes 1..n

    Raises
    ------
    UsageError
        If there is no such structure.
    """
    given = [regions] if isinstance(regions, str) else list(regions)
    if len(given) == 1 and given[0] in WORDS:
        return given[0]
    return ["+".join(_number(part.strip(), names) for part in region.split("+")) for region in given]


def _number(part: str, names: Sequence[str]) -> str:
    known = [name.casefold() for name in names]
    if part.casefold() in known:
        return str(known.index(part.casefold()) + 1)
    if part.isdecimal() and 1 <= int(part) <= len(names):
        return str(int(part))
    raise UsageError(
        f"There is no structure {part or 'without a name'} for a region.",
        f'The structures are {", ".join(names)}: give sums of them like "{"+".join(names[:2])}", or nested.',
    )


def structures(regions: str | Sequence[str], count: int) -> list[list[int]]:
    """Numbers of the structures, out of 1..``count``, of each of the regions that :func:`numbered` returns."""
    if regions == "nested":
        return [list(range(first, count + 1)) for first in range(1, count + 1)]
    if regions == "separate":
        return [[value] for value in range(1, count + 1)]
    return [[int(value) for value in region.split("+")] for region in regions]


def in_words(regions: str | Sequence[str], names: Sequence[str]) -> str:
    """Regions as :func:`numbered` returns them by the names of their structures; what makes no sense as it is."""
    if regions == "nested":
        return ", ".join(" + ".join(names[start:]) for start in range(len(names)))
    if isinstance(regions, str):
        return ", ".join(names) if regions == "separate" else regions
    return ", ".join(_structures(str(region), names) for region in regions)


def _structures(region: str, names: Sequence[str]) -> str:
    values = region.split("+")
    known = all(value.isdecimal() and 1 <= int(value) <= len(names) for value in values)
    return " + ".join(names[int(value) - 1] for value in values) if known else region
