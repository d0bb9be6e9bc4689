"""Names as DICOM can hold them: one value, of limited length, in a character set that has the letters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

UNICODE = "ISO_IR 192"
_LONGEST = 64  # characters of a long string (LO)


def dicom_text(name: str, longest: int = _LONGEST) -> str:
    """Return a name without what DICOM texts cannot hold, and short enough.

    Backslashes, which separate values, become slashes. From a name that is too long the middle is left out, since
    names often differ at their ends.
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in name.replace("\\", "/"))
    plain = " ".join(plain.encode("utf-8", "replace").decode().split())
    if len(plain) <= longest:
        return plain
    start = (longest - 3 + 1) // 2
    return f"{plain[:start]}...{plain[start + 3 - longest :]}"


def character_set(of_scan: Any, texts: Iterable[str]) -> Any:
    """Return the character set that new texts beside those of the scan need: the scan's, or Unicode."""
    if all(text.isascii() for text in texts):
        return of_scan
    return UNICODE
