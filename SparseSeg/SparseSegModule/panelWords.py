"""Words of the engine for the panel: options of the command line become the panel's."""

from __future__ import annotations

_WORDS = (
    ("(--force)", '(the box "Segment in spite of warnings")'),
    ("Add --resample to bring it there, or draw", "Draw"),
    (" (--resample on the command line)", ""),
    (", or add --overwrite", ""),
)


def inPanelWords(text: str) -> str:
    """An English text of the engine, with what the panel has in place of the options of the command line."""
    for option, words in _WORDS:
        text = text.replace(option, words)
    return text
