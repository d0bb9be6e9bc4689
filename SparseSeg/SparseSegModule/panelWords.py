"""Messages of the engine for the panel: options of the command line become the panel's."""

from __future__ import annotations

from slicer.i18n import tr as _


def inPanelWords(text: str) -> str:
    """A message of the engine, with what the panel has in place of the options of the command line."""
    for option, words in _words():
        text = text.replace(option, words)
    return text


def _words() -> tuple[tuple[str, str], ...]:
    return (
        ("(--force)", _('(the box "Segment in spite of warnings")')),
        ("Add --resample to bring it there, or draw", _("Draw")),
        (" (--resample on the command line)", ""),
        (", or add --overwrite", ""),
    )
