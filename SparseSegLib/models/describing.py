"""The texts of a card that say what a model is, and which of them can be. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping

from SparseSegLib.errors import UsageError
from SparseSegLib.models.card import MODALITIES
from SparseSegLib.models.fields import LONGEST_TEXT

DESCRIBED = ("name", "summary", "intended_use", "data", "license", "modality")
"""The fields of a card that a person writes."""


def check_description(texts: Mapping[str, str]) -> None:
    """Raise UsageError if a card cannot have these texts, by the names of its fields.

    A name must not be empty, no text may be longer than a card may have it, and the modality must be known.
    """
    if unknown := sorted(set(texts) - set(DESCRIBED)):
        raise UsageError(f"A model has no {', '.join(unknown)} to describe.", f"Use {', '.join(DESCRIBED)}.")
    if not texts.get("name", "named").strip():
        raise UsageError("The model's name is empty.", "Give it one.")
    modality = texts.get("modality", "")
    if modality and modality not in MODALITIES:
        raise UsageError(
            f"There is no modality called {modality}.", f"Use one of {', '.join(MODALITIES)}, or leave it out."
        )
    for name, text in texts.items():
        check_length(f"The model's {name.replace('_', ' ')}", text)


def check_length(what: str, text: str) -> None:
    """Raise UsageError if a text is longer than a card may have it; ``what`` is what to call it in the message."""
    if len(text) > LONGEST_TEXT:
        raise UsageError(f"{what} has {len(text)} letters, and {LONGEST_TEXT} is the most.", "Shorten it.")
