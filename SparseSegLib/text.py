"""Text that comes from files, made safe to show: nothing in it can steer a terminal or reorder what people read.

Standard library only.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_BRIEF = 120
DIRECTIONS = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""Characters that turn the direction of writing, so that a text reads otherwise than it is."""

_SPACES = str.maketrans(dict.fromkeys("\t\n\v\f\r\x85\u2028\u2029", " "))

# Control characters (C0, DEL, C1), marks and overrides of writing direction, line and paragraph separators, what is
# invisible, and surrogates, which stand for bytes that are no text.
_UNSAFE = "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
_ANY = re.compile(f"[{_UNSAFE}]")
_BUT_LINES = re.compile(f"(?!\n)[{_UNSAFE}]")


def plain_text(text: str) -> str:
    """Return a text in one line without control characters, escape codes, halves of characters and turned directions.

    Letters of all scripts stay, and so do emoji.
    """
    return "".join(char for char in text.translate(_SPACES) if _is_shown(char))


def _is_shown(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs") and char not in DIRECTIONS


def brief(error: Exception) -> str:
    """Return a library's error message on a foreign file, which may quote it, shortened to a line."""
    text = plain_text(str(error)).rstrip(".") or type(error).__name__
    return text if len(text) <= LONGEST_BRIEF else f"{text[:LONGEST_BRIEF]}…"


def printable(text: object) -> str:
    """Return the text in one line, with characters that are no text written as ``\\x1b`` or ``\\u202e``.

    Bytes of a file name that are not UTF-8, which Python keeps as surrogates, become ``\\xe4`` and the like.
    """
    return _ANY.sub(_escaped, str(text))


def printable_lines(text: object) -> str:
    """Return the text as `printable` does, but with its lines."""
    return _BUT_LINES.sub(_escaped, str(text))


def printable_json(text: str) -> str:
    """Return JSON with the same value that has none of these characters: they are written as JSON's own escapes."""
    return _BUT_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
