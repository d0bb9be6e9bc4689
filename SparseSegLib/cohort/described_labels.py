"""The labels of a ``dataset.json``: structures, regions made of several values, and the ignore label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

IGNORE = "ignore"
"""nnU-Net's name for the value of unlabeled voxels."""

HIGHEST = 2**31 - 1

Region = frozenset[int]


@dataclass(frozen=True)
class DescribedLabels:
    """Labels as a description has them.

    Attributes
    ----------
    structures : names by value
    ignore : the value that means unlabeled, or None
    regions : sums of structures' names to learn instead of exclusive structures; () for none
    """

    structures: dict[int, str]
    ignore: int | None = None
    regions: tuple[str, ...] = ()


def described_labels(labels: Any) -> DescribedLabels:
    """Parse ``{"0": "background", "1": "liver"}``, ``{"liver": 1}`` or, with regions, ``{"tumor": [1, 2]}``.

    Raises ValueError with what is wrong.
    """
    if not isinstance(labels, dict):
        raise ValueError(f"labels is {labels!r:.50}, no object")
    if all(key.isdecimal() for key in labels):
        pairs = [(_text(name), frozenset([_value(int(key[:20]))])) for key, name in labels.items()]
    else:
        pairs = [(_text(name), _region(value)) for name, value in labels.items()]
    ignored = {value for name, region in pairs if name.casefold() == IGNORE for value in region}
    if len(ignored) > 1 or 0 in ignored:
        raise ValueError(f"{IGNORE} must be one value above 0")
    for name, region in pairs:
        if name.casefold() == "background" and region != {0}:
            raise ValueError(f"background is the value 0, not {sorted(region)}")
    named = [(name, region) for name, region in pairs if region != {0} and name.casefold() != IGNORE]
    _check(named, ignored)
    ignore = next(iter(ignored), None)
    if all(len(region) == 1 for _, region in named):
        return DescribedLabels({value: name for name, region in named for value in region}, ignore)
    return _with_regions(named, ignore)


def _with_regions(named: list[tuple[str, Region]], ignore: int | None) -> DescribedLabels:
    """Regions of several values: each value becomes a structure, and regions are sums of these."""
    ordered = sorted(named, key=lambda pair: -len(pair[1]))
    values = sorted({value for _, region in ordered for value in region})
    members = {value: tuple(value in region for _, region in ordered) for value in values}
    for value in values:
        same = [other for other in values if members[other] == members[value]]
        if len(same) > 1:
            raise ValueError(f"the values {same} belong to the same regions and cannot be distinguished")
    structures = {value: _name_of(value, ordered) for value in values}
    if any("+" in name for name in structures.values()):
        raise ValueError("a name has a +, which names of regions cannot have")
    regions = tuple("+".join(structures[value] for value in sorted(region)) for _, region in ordered)
    return DescribedLabels(structures, ignore, regions)


def _name_of(value: int, ordered: list[tuple[str, Region]]) -> str:
    """A value's own name: that of the smallest region around it, without the parts that have names of their own."""
    name, around = [pair for pair in ordered if value in pair[1]][-1]
    parts = [pair for pair in ordered if pair[1] < around and value not in pair[1]]
    largest = [part for part, region in parts if not any(region < other for _, other in parts)]
    return f"{name} without {' and '.join(largest)}" if largest else name


def _check(named: list[tuple[str, Region]], ignored: set[int]) -> None:
    if not named:
        raise ValueError("it has no label values of structures")
    seen_names, seen_regions = set(), set()
    for name, region in named:
        if not name:
            raise ValueError(f"the value {min(region)} has no name")
        if 0 in region or region & ignored:
            raise ValueError(f"{name} has a value that means something else, too")
        if name.casefold() in seen_names:
            raise ValueError(f"two structures are called {name}")
        if region in seen_regions:
            raise ValueError(f"{name} has the same value as another structure")
        seen_names.add(name.casefold())
        seen_regions.add(region)


def _region(value: Any) -> Region:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError("a region has no values")
    return frozenset(_value(one) for one in values)


def _value(value: Any) -> int:
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= HIGHEST:
        raise ValueError(f"{value!r:.50} is no label value from 0 to {HIGHEST}")
    return value


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{name!r:.50} is no name")
    return name.strip()
