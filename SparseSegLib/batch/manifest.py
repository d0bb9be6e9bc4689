"""Which cases of a folder are done, and with which model and settings: what lets an interrupted run go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from SparseSegLib.batch.case import BatchCase

FILE = "segmented.jsonl"

Entry = dict[str, Any]
"""What is said of a case: ``name`` and ``file`` with figures, or ``name``, ``error``, ``hint`` and ``code``."""


class Manifest:
    """The finished cases of a folder, a line of JSON each; adding one costs the same however many there are.

    Parameters
    ----------
    folder : where the results lie
    doing : what is done to each case: the model's hash and the settings; JSON values
    """

    def __init__(self, folder: Path, doing: list[Any]) -> None:
        self.folder = folder
        self.doing = doing
        text = _text(folder / FILE)
        self._torn = bool(text) and not text.endswith("\n")
        self._done = dict(_entries(text))

    def find(self, case: BatchCase) -> Entry | None:
        """What was said of a case if its result is there, of these very files, this model and these settings."""
        entry = self._done.get(self._key(case))
        return entry if entry is not None and (self.folder / case.file).is_file() else None

    def add(self, case: BatchCase, entry: Entry) -> None:
        """Note that a case is done. Its result must be there already."""
        key = self._key(case)
        self._done[key] = entry
        line = json.dumps([key, entry], ensure_ascii=False) + "\n"
        with open(self.folder / FILE, "a", encoding="utf-8", newline="\n") as file:
            file.write("\n" + line if self._torn else line)
        self._torn = False

    def _key(self, case: BatchCase) -> str:
        """Tells a case, its files as they are now, and what is done to it."""
        files = [[str(path.absolute()), *_stamp(path)] for path in case.volumes]
        return json.dumps([*self.doing, case.name, files])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _entries(text: str) -> list[tuple[str, Entry]]:
    """All whole lines; a run that was killed may have left half a one."""
    found = []
    for line in text.splitlines():
        try:
            key, entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(key, str) and isinstance(entry, dict):
            found.append((key, entry))
    return found


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
