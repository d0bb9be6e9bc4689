"""A run's report: a table with one row per case."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from SparseSegLib.batch.manifest import Entry
from SparseSegLib.files import atomic_path
from SparseSegLib.text import plain_text

FILE = "report.csv"
AMOUNTS = {"voxels": "voxels", "volume_ml": "ml"}
FIRST, LAST = ("name", "file", "seconds"), ("error", "code")
HIDDEN = ("hint",)  # may list what else is in a folder, with what somebody wrote about it
FORMULA = ("=", "+", "-", "@")


def write_report(entries: Sequence[Entry], path: Path) -> None:
    """Write a CSV file: case, result, seconds, voxels and milliliters of each structure, and what went wrong.

    Other numbers and texts of the entries get columns too. UTF-8 with a mark at the start, so that spreadsheets show
    umlauts. No text is taken for a formula by them.
    """
    columns = _columns(entries)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", *map(_cell, columns[1:])])
        for entry in entries:
            row = _flat(entry)
            writer.writerow([_cell(row.get(column, "")) for column in columns])


def _columns(entries: Sequence[Entry]) -> list[str]:
    """All columns of all rows: case and result first, structures in the order in which they come, errors last."""
    seen = dict.fromkeys(key for entry in entries for key in _flat(entry))
    return [*FIRST, *(key for key in seen if key not in (*FIRST, *LAST)), *LAST]


def _flat(entry: Entry) -> dict[str, str | int | float]:
    row: dict[str, str | int | float] = {}
    for key, value in entry.items():
        if key in AMOUNTS:
            row |= {f"{structure} {AMOUNTS[key]}": amount for structure, amount in value.items()}
        elif isinstance(value, str | int | float) and key not in HIDDEN:
            row[key] = value
    return row


def _cell(value: str | int | float) -> str | int | float:
    """A cell's content: of a text what can be seen, with a mark before it where it would be a formula."""
    if not isinstance(value, str):
        return value
    text = plain_text(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
