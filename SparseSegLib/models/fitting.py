"""Whether a model fits an annotated volume, and which of its classes is which structure. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from SparseSegLib.errors import UsageError
from SparseSegLib.models.card import ModelCard


def classes_for(card: ModelCard, names: Sequence[str], channels: int) -> tuple[int, ...]:
    """The model's class of each annotated structure, which is the one of the same name in any case.

    A single structure is that of a model with a single one, whatever it is called.

    Parameters
    ----------
    card : of the model
    names : of the annotated structures
    channels : of the volume

    Raises
    ------
    UsageError
        If the model has other structures, or other channels.
    """
    wanted = len(card.preprocessing.channels)
    if channels != wanted:
        raise UsageError(
            f"The model {card.name} takes {wanted} channel(s); the volume has {channels}.",
            "Give the same channels, in the same order, or start without the model.",
        )
    known = {label.name.strip().casefold(): number for number, label in enumerate(card.labels, start=1)}
    if len(names) == len(card.labels) == 1:
        return (1,)
    asked = [name.strip().casefold() for name in names]
    if set(asked) != set(known):
        raise UsageError(
            f"The model {card.name} knows {', '.join(label.name for label in card.labels)}; annotated are "
            f"{', '.join(names)}.",
            "Annotate the same structures under the same names, or start without the model.",
        )
    return tuple(known[name] for name in asked)
