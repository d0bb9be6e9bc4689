"""Translates what engine and module say in errors and messages, which come as finished English sentences."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

from slicer.i18n import tr

from SparseSegLib.errors import SparseSegError
from SparseSegModule.panelWords import inPanelWords
from SparseSegModule.sentences import sentences

_NAME = re.compile(r"\{(\w+)\}")
_BETWEEN = re.compile(r"(?<=[.?!)]) |; |, ")
_MOST_PARTS = 12
"""A text of more parts is a list, of files for example, and is not taken apart."""


class _Sentence(NamedTuple):
    """A pattern of English texts and their translation, with the same names in braces."""

    pattern: re.Pattern[str]
    start: str
    end: str
    letters: int
    translation: str

    def match(self, text: str) -> re.Match[str] | None:
        """The match of the whole text; most sentences begin or end otherwise, which is seen at once."""
        return self.pattern.fullmatch(text) if text.startswith(self.start) and text.endswith(self.end) else None


def translated(text: str) -> str:
    """A text in the user's language, as far as its sentences and their parts are known; else in English."""
    return _best(inPanelWords(text))[1] if _known() else inPanelWords(text)


def errorText(error: SparseSegError) -> str:
    """What an error says, and its hint, in the user's language."""
    return f"{translated(error.message)} {translated(error.hint)}".strip()


@cache
def _known() -> list[_Sentence]:
    """All sentences; none where no translation into the user's language is there."""
    english = sentences(str)
    own = sentences(tr)
    return [] if own == english else [_sentence(*pair) for pair in zip(english, own, strict=True)]


def _sentence(english: str, translation: str) -> _Sentence:
    split = _NAME.split(english)
    pieces, seen = [], set()
    for number, piece in enumerate(split):
        if number % 2:
            pieces.append(f"(?P={piece})" if piece in seen else f"(?P<{piece}>.*?)")
            seen.add(piece)
        else:
            pieces.append(re.escape(piece))
    letters = sum(map(len, split[::2]))
    return _Sentence(re.compile("".join(pieces), re.DOTALL), split[0], split[-1], letters, translation)


@lru_cache(1024)
def _best(text: str) -> tuple[int, str]:
    """How many letters of a text are of known sentences, and the translation that knows the most of them."""
    found = [(0, text)]
    for sentence in _known():
        match = sentence.match(text)
        if match is not None:
            values = {name: _best(value) for name, value in match.groupdict().items()}
            letters = sentence.letters + sum(known for known, _value in values.values())
            found.append((letters, _filled(sentence.translation, values)))
    gaps = list(_BETWEEN.finditer(text))
    for gap in gaps if len(gaps) < _MOST_PARTS else ():
        if any(sentence.match(text[: gap.start()]) for sentence in _known()):
            (known, head), (more, rest) = _best(text[: gap.start()]), _best(text[gap.end() :])
            found.append((known + more, f"{head}{gap[0]}{rest}"))
    return max(found, key=lambda one: one[0])


def _filled(translation: str, values: dict[str, tuple[int, str]]) -> str:
    return _NAME.sub(lambda name: values[name[1]][1], translation)
