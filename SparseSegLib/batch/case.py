"""The cases of a run: files, and names that are good for results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SparseSegLib.errors import JobError
from SparseSegLib.files import safe_file_name
from SparseSegLib.io import volume_name

RESULT = ".seg.nrrd"


@dataclass(frozen=True)
class BatchCase:
    """The files of a case (one, or one per channel) and its name, which no other case has.

    ``series`` are the UIDs of DICOM series to read, one for each file, "" where there is nothing to choose; ``ending``
    is that of its result's name, which says in what format it is.
    """

    name: str
    volumes: tuple[Path, ...]
    series: tuple[str, ...] = ()
    ending: str = RESULT

    @property
    def file(self) -> str:
        """The name of its result."""
        return f"{self.name}{self.ending}"


def named_cases(cases: Sequence[Mapping[str, Any]], folder: Path, ending: str = RESULT) -> list[BatchCase]:
    """The cases under names that are good for files and all different.

    Parameters
    ----------
    cases : each with ``volumes`` (paths) and, if it shall not be called as its first file, ``name``; ``series`` as in
        `BatchCase`
    folder : what relative paths start from
    ending : of the results' names

    Raises
    ------
    JobError
        If a case names no volumes.
    """
    found: list[BatchCase] = []
    taken: set[str] = set()
    for number, case in enumerate(cases, start=1):
        paths = case.get("volumes") if isinstance(case, Mapping) else None
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
            raise JobError(f"Case {number} of the job names no volumes.", "Give each case a list of files.")
        volumes = tuple((folder / path).absolute() for path in paths)
        wanted, series = case.get("name"), case.get("series", ())
        if not isinstance(series, (list, tuple)):
            raise JobError(f"The series of case {number} of the job must be a list.", "Give one UID for each file.")
        plain = safe_file_name(wanted if isinstance(wanted, str) and wanted else volume_name(volumes[0]), "case")
        name, count = plain, 1
        while name.casefold() in taken:
            count += 1
            name = f"{plain}-{count}"
        taken.add(name.casefold())
        found.append(BatchCase(name, volumes, tuple(map(str, series)), ending))
    return found
