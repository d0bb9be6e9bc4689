"""Results of benchmarks: CSV tables, one row per measurement, so that a second run does what is missing."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from SparseSegLib.files import atomic_path

Row = dict[str, Any]


class Table:
    """The measurements in a CSV file, oldest first, under a header of their names.

    A cell is a text as it is, or else JSON: a number of five significant digits, a list, ``true``. An empty cell is
    None.

    Parameters
    ----------
    path : the file; its folder is made, and the file with the first row
    key : the columns that identify a measurement
    """

    def __init__(self, path: Path, key: Sequence[str] = ()) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.key = key

    def rows(self) -> list[Row]:
        """All rows that were measured so far; each has all columns."""
        return [{name: _value(cell) for name, cell in row.items()} for row in self._cells()]

    def has(self, row: Row) -> bool:
        """Whether there is a measurement with the key of ``row``, which has all columns of the key."""
        wanted = [_cell(row[name]) for name in self.key]
        return any([cells.get(name, "") for name in self.key] == wanted for cells in self._cells())

    def append(self, row: Row) -> None:
        """Add a row, and print it. Columns that are new are empty in the rows before."""
        cells = {name: _cell(value) for name, value in row.items()}
        print(json.dumps(row), flush=True)
        before = self._cells()
        columns = list(before[0]) if before else []
        added = [name for name in cells if name not in columns]
        if added:
            with atomic_path(self.path) as path:
                _write(path, "w", columns + added, [*before, cells], header=True)
        else:
            _write(self.path, "a", columns, [cells], header=False)

    def _cells(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with open(self.path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def _write(path: Path, mode: str, columns: Sequence[str], rows: Sequence[dict[str, str]], *, header: bool) -> None:
    with open(path, mode, encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)


def _cell(value: Any) -> str:
    """A value as it is written; a text that could be taken for JSON gets quotes."""
    if value is None:
        return ""
    if isinstance(value, str) and _value(value) == value:
        return value
    return json.dumps(_rounded(value), ensure_ascii=False, separators=(",", ":"))


def _value(cell: str) -> Any:
    """What was written into a cell."""
    if not cell:
        return None
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def _rounded(value: Any) -> Any:
    """Numbers with a fraction to five significant digits, in lists and dictionaries too."""
    if isinstance(value, float):
        return value if value.is_integer() else float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value


@cache
def commit() -> str:
    """The version of SparseSeg that is measured, with a plus if files were changed; "" outside of a repository."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
