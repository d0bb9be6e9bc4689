"""Names for new nodes that no node of the scene has, and for files that every system takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count

import slicer

_REFUSED = re.compile(r'[\x00-\x1f/\\:*?"<>|.]+')
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)", re.IGNORECASE)
_LONGEST = 120  # bytes: file systems take 255, and numbers and endings follow


def freeNumber(names: Sequence[str]) -> str:
    """What to append to the names of one run's nodes: "" the first time, then " (2)", " (3)" and so on."""
    endings = ("" if number == 1 else f" ({number})" for number in count(1))
    return next(
        ending for ending in endings if not any(slicer.mrmlScene.GetFirstNodeByName(name + ending) for name in names)
    )


def freeName(name: str) -> str:
    """The name itself, or where a node has it already, "name (2)"."""
    return name + freeNumber([name])


def fileName(name: str) -> str:
    """A node's name as a file's: what file systems refuse becomes a dash, and what is too long is cut."""
    plain = _REFUSED.sub("-", name).strip()
    short = plain.encode("utf-8", "ignore")[:_LONGEST].decode("utf-8", "ignore").strip() or "image"
    return f"{short}-" if _DEVICES.fullmatch(short) else short
