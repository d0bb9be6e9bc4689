"""Texts of a foreign card as they may be shown anywhere. Standard library only."""

from __future__ import annotations

import unicodedata

LONGEST_BRIEF = 120
SEPARATORS = "\t\n\v\f\r\x85\u2028\u2029"
DIRECTIONS = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""Characters that turn the direction of writing, so that a text reads otherwise than it is."""

_SPACES = str.maketrans(dict.fromkeys(SEPARATORS, " "))


def plain_text(text: str) -> str:
    """Return a text in one line without control characters, escape codes, halves of characters and turned directions.

    Letters of all scripts stay, and so do emoji.
    """
    return "".join(char for char in text.translate(_SPACES) if _is_shown(char))


def brief(error: Exception) -> str:
    """What a library says of a foreign file, which may quote it: no more of it than a line takes."""
    text = plain_text(str(error)).rstrip(".") or type(error).__name__
    return text if len(text) <= LONGEST_BRIEF else f"{text[:LONGEST_BRIEF]}…"


def _is_shown(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs") and char not in DIRECTIONS
