"""Reading the fields of an untrusted JSON object. Standard library only."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from SparseSegLib.errors import ModelError
from SparseSegLib.text import plain_text

HINT = "Choose a model that SparseSeg made, or ask whoever made it to export it again."
LONGEST_TEXT = 4000
LONGEST_SHOWN = 60
LARGEST_SIZE = 1024
LARGEST_NUMBER = 1e300
MOST_NUMBERS = 4096
MOST_TEXTS = 256


class Fields:
    """Takes fields out of an object and checks each; what is wrong is a ModelError that names the field.

    Parameters
    ----------
    content : what the JSON file holds
    source : what to call the bundle in messages
    path : where in the file this object is, for messages
    """

    def __init__(self, content: Any, source: str, path: str = "") -> None:
        self.source = source
        self.path = path
        if not isinstance(content, dict):
            raise ModelError(f"The model card of {source} is damaged: {path or 'it'} is no JSON object.", HINT)
        self._content = content

    def wrong(self, key: str, what: str) -> ModelError:
        """The error for a field."""
        return ModelError(f'The model card of {self.source} is damaged: "{self.path}{key}" {what}.', HINT)

    def version(self, key: str, known: Sequence[int]) -> int:
        """The version of the format, which must be one of those known."""
        found = self._content.get(key)
        if isinstance(found, int) and not isinstance(found, bool) and found in known:
            return found
        words = f"has the format {_shown(found)}" if key in self._content else "does not say its format"
        raise ModelError(
            f"The model card of {self.source} {words}, and this version knows {' and '.join(map(str, known))}.",
            "Update SparseSeg, or choose another model.",
        )

    def _get(self, key: str, kind: type | tuple[type, ...], what: str, default: Any = None) -> Any:
        if key not in self._content:
            if default is None:
                raise self.wrong(key, "is missing")
            return default
        value = self._content[key]
        if not isinstance(value, kind):
            raise self.wrong(key, f"must be {what}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A string, as it may be shown; not empty unless there is a default."""
        value = plain_text(str(self._get(key, str, "text", default)))
        if len(value) > LONGEST_TEXT or (default is None and not value.strip()):
            raise self.wrong(key, f"must have 1 to {LONGEST_TEXT} letters")
        return value

    def has(self, key: str) -> bool:
        """Whether the field is there."""
        return key in self._content

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of at least one string, as they may be shown."""
        values = self._get(key, list, "a list")
        if not 0 < len(values) <= MOST_TEXTS or not all(_is_text(value) for value in values):
            raise self.wrong(key, f"must be a list of 1 to {MOST_TEXTS} texts")
        return tuple(plain_text(value) for value in values)

    def choice(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        """One of several strings; the default if the field is not there."""
        if default is not None and not self.has(key):
            return default
        return self._known(key, self.text(key), known)

    def choices(self, key: str, known: Sequence[str]) -> tuple[str, ...]:
        """Any of several strings; none if the field is not there."""
        values = self._get(key, list, "a list", [])
        return tuple(self._known(key, value, known) for value in values)

    def _known(self, key: str, value: Any, known: Sequence[str]) -> str:
        if value not in known:
            raise self.wrong(key, f"is {_shown(value)}, and this version knows {', '.join(known)}")
        return str(value)

    def flag(self, key: str) -> bool:
        """True or false; false if it is not there."""
        return bool(self._get(key, bool, "true or false", False))

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self._get(key, int, "a whole number")
        if isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, f"must lie between {low} and {high}")
        return int(value)

    def number(self, key: str, *, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        value = self._get(key, (int, float), "a number")
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(key, f"must be a number between {low:g} and {high:g}")
        return float(value)

    def numbers(self, key: str, count: int | None, *, low: float, high: float) -> tuple[float, ...]:
        """``count`` numbers from ``low`` to ``high``; any count, up to 4096, for None."""
        values = self._get(key, list, "a list of numbers")
        fits = len(values) <= MOST_NUMBERS if count is None else len(values) == count
        if not fits or not all(_is_number(value) and low <= value <= high for value in values):
            raise self.wrong(key, f"must be {count or 'some'} numbers between {low:g} and {high:g}")
        return tuple(float(value) for value in values)

    def sizes(self, key: str) -> tuple[int, int, int]:
        """Three sizes in voxels."""
        values = self._get(key, list, "a list of 3 sizes")
        whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
        if len(values) != 3 or not whole or not all(1 <= value <= LARGEST_SIZE for value in values):
            raise self.wrong(key, f"must be 3 whole numbers between 1 and {LARGEST_SIZE}")
        return values[0], values[1], values[2]

    def digest(self, key: str) -> str:
        """A SHA-256 in hexadecimal digits."""
        value = self.text(key)
        if not re.fullmatch("[0-9a-f]{64}", value):
            raise self.wrong(key, "is no SHA-256")
        return value

    def plain(self, key: str) -> dict[str, Any]:
        """An object of strings, moderate numbers, true/false and lists of such numbers."""
        values = self._get(key, dict, "an object")
        if len(values) > MOST_TEXTS:
            raise self.wrong(key, f"has more than {MOST_TEXTS} entries")
        return {plain_text(name): self._plain_value(key, name, value) for name, value in values.items()}

    def _plain_value(self, key: str, name: str, value: Any) -> Any:
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, str) and len(part) > LONGEST_TEXT:
                raise self.wrong(key, f"has a text at {_shown(name)} of more than {LONGEST_TEXT} letters")
            if not isinstance(part, str | bool) and not (_is_number(part) and abs(part) <= LARGEST_NUMBER):
                raise self.wrong(key, f"has a value at {_shown(name)} that is no number and no text")
        plain = [plain_text(part) if isinstance(part, str) else part for part in parts]
        return plain if isinstance(value, list) else plain[0]

    def object(self, key: str) -> Fields:
        """An object in this one."""
        return Fields(self._get(key, dict, "an object"), self.source, f"{self.path}{key}.")

    def objects(self, key: str) -> list[Fields]:
        """A list of at least one object."""
        values = self._get(key, list, "a list")
        if not values:
            raise self.wrong(key, "is empty")
        return [Fields(value, self.source, f"{self.path}{key}.{number}.") for number, value in enumerate(values)]


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _shown(value: Any) -> str:
    """A foreign value in a message: what cannot be printed as its code, and not more of it than a line takes."""
    text = repr(value) if isinstance(value, str | int | float) else type(value).__name__
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
