"""Names for new nodes that no node of the scene has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import slicer


def freeNumber(names: Sequence[str]) -> str:
    """What to append to the names of one run's nodes: "" the first time, then " (2)", " (3)" and so on."""
    endings = ("" if number == 1 else f" ({number})" for number in count(1))
    return next(
        ending for ending in endings if not any(slicer.mrmlScene.GetFirstNodeByName(name + ending) for name in names)
    )


def freeName(name: str) -> str:
    """The name itself, or where a node has it already, "name (2)"."""
    return name + freeNumber([name])
