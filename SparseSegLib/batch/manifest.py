"""The manifest of a folder: the cases that are done, with which model and settings, to resume an interrupted run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from SparseSegLib.batch.case import BatchCase

FILE = "segmented.jsonl"
TRYING = "trying"

Entry = dict[str, Any]
"""The entry of a case: ``name`` and ``file`` with figures, or ``name``, ``error``, ``hint`` and ``code``.

In the manifest a case that began and is not done has an empty one, and one that is being computed has ``trying``, how
many runs have tried it."""


class Manifest:
    """The cases of a folder, a line of JSON when each begins and when it is done; the last line on a result counts.

    Adding one costs the same however many there are. A result that another model or another image replaced is no
    longer vouched for by what was noted before.

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
        self._last = {_name(key): (key, entry) for key, entry in _entries(text)}

    def find(self, case: BatchCase) -> Entry | None:
        """The entry of a case if its result is there, of these very files, this model and these settings."""
        key, entry = self._last.get(case.name, ("", {}))
        done = bool(entry) and TRYING not in entry
        return entry if done and key == self._key(case) and (self.folder / case.file).exists() else None

    def tries(self, case: BatchCase) -> int:
        """How many runs in a row ended, without an error, while they computed this case of these very files."""
        key, entry = self._last.get(case.name, ("", {}))
        count = entry.get(TRYING)
        return count if isinstance(count, int) and key == self._key(case) else 0

    def begun(self, case: BatchCase) -> bool:
        """Whether a result that is there can only be of these very files, this model and these settings."""
        return self._last.get(case.name, ("", {}))[0] == self._key(case)

    def begin(self, cases: Iterable[BatchCase]) -> None:
        """Note that the results of these cases are about to be written, or replaced."""
        lines: dict[BatchCase, tuple[str, Entry]] = {
            case: (self._key(case), {TRYING: tries} if (tries := self.tries(case)) else {}) for case in cases
        }
        self._note({case: line for case, line in lines.items() if self._last.get(case.name) != line})

    def trying(self, case: BatchCase) -> None:
        """Note that a case is computed from now on, so that the next run can tell where this one died."""
        self._note({case: (self._key(case), {TRYING: self.tries(case) + 1})})

    def survived(self, case: BatchCase) -> None:
        """Note that a case is not done, and did not end the run."""
        self._note({case: (self._key(case), {})})

    def add(self, case: BatchCase, entry: Entry) -> None:
        """Note that a case is done. Its result must be there already."""
        self._note({case: (self._key(case), entry)})

    def _note(self, lines: dict[BatchCase, tuple[str, Entry]]) -> None:
        """Append a line for each case."""
        if not lines:
            return
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines.values())
        text, self._torn = "\n" + text if self._torn else text, True
        with open(self.folder / FILE, "a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
        self._torn = False
        self._last |= {case.name: line for case, line in lines.items()}

    def _key(self, case: BatchCase) -> str:
        """Identifies a case, its files as they are now, and what is done to it."""
        files = [[str(path.absolute()), *_stamp(path)] for path in case.volumes]
        chosen = [list(case.series)] if any(case.series) else []
        return json.dumps([*self.doing, *chosen, case.name, files])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _name(key: str) -> str:
    """The name of a key's case."""
    return str(json.loads(key)[-2])


def _entries(text: str) -> list[tuple[str, Entry]]:
    """All whole lines; a run that was killed may have left half a one."""
    found = []
    for line in text.split("\n"):
        try:
            key, entry = json.loads(line)
            _name(key)
        except (ValueError, TypeError, LookupError, RecursionError):
            continue
        if isinstance(entry, dict):
            found.append((key, entry))
    return found


def is_of(entry: Entry, case: BatchCase) -> bool:
    """Whether an entry is what ``CaseWork`` returns for a case that is done; anybody may have written the manifest."""
    return (
        entry.get("name") == case.name
        and entry.get("file") == case.file
        and _is_number(entry.get("seconds"))
        and all(_are_amounts(entry.get(name)) for name in ("voxels", "volume_ml"))
        and isinstance(entry.get("doubts", ""), str)
    )


def _are_amounts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return []
    return [status.st_size, status.st_mtime_ns]
