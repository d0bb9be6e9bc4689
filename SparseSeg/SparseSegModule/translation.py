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


class _Sentence(NamedTuple):
    """A pattern of English texts and their translation, with the same names in braces."""

    pattern: re.Pattern[str]
    letters: int
    translation: str


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
    pieces, seen = [], set()
    for number, piece in enumerate(_NAME.split(english)):
        if number % 2:
            pieces.append(f"(?P={piece})" if piece in seen else f"(?P<{piece}>.*?)")
            seen.add(piece)
        else:
            pieces.append(re.escape(piece))
    return _Sentence(re.compile("".join(pieces), re.DOTALL), len(_NAME.sub("", english)), translation)


@lru_cache(1024)
def _best(text: str) -> tuple[int, str]:
    """How many letters of a text are of known sentences, and the translation that knows the most of them."""
    found = [(0, text)]
    for sentence in _known():
        match = sentence.pattern.fullmatch(text)
        if match is not None:
            values = {name: _best(value) for name, value in match.groupdict().items()}
            letters = sentence.letters + sum(known for known, _value in values.values())
            found.append((letters, _filled(sentence.translation, values)))
    for gap in _BETWEEN.finditer(text):
        before = [each for each in _known() if each.pattern.fullmatch(text[: gap.start()])]
        if before:
            (known, head), (more, rest) = _best(text[: gap.start()]), _best(text[gap.end() :])
            found.append((known + more, f"{head}{gap[0]}{rest}"))
    return max(found, key=lambda one: one[0])


def _filled(translation: str, values: dict[str, tuple[int, str]]) -> str:
    return _NAME.sub(lambda name: values[name[1]][1], translation)
