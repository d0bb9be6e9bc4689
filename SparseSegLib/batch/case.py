"""The cases of a run: files, and names that are good for results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SparseSegLib.io import volume_name

RESULT = ".seg.nrrd"
LONGEST = 100


@dataclass(frozen=True)
class BatchCase:
    """The files of a case (one, or one a channel) and its name, which no other case has.

    ``series`` are the UIDs of DICOM series to read, one for each file, "" where there is nothing to choose.
    """

    name: str
    volumes: tuple[Path, ...]
    series: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The name of its result."""
        return f"{self.name}{RESULT}"


def named_cases(cases: Sequence[Mapping[str, Any]], folder: Path) -> list[BatchCase]:
    """The cases under names that are good for files and all different.

    Parameters
    ----------
    cases : each with ``volumes`` (paths) and, if it shall not be called as its first file, ``name``; ``series`` as in
        `BatchCase`
    folder : what relative paths start from
    """
    found: list[BatchCase] = []
    taken: set[str] = set()
    for case in cases:
        volumes = tuple((folder / path).absolute() for path in case["volumes"])
        wanted = str(case.get("name") or volume_name(volumes[0]))
        plain = re.sub(r'[\x00-\x1f/\\:*?"<>|]+', "-", wanted).strip(". ")[:LONGEST] or "case"
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        found.append(BatchCase(name, volumes, tuple(map(str, case.get("series", ())))))
    return found
