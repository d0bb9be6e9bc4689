"""Several models of one kind in one bundle, which averages their predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from SparseSegLib.errors import ModelError, UsageError
from SparseSegLib.files import PathLike
from SparseSegLib.models.bundle import load_weights, save_bundle
from SparseSegLib.models.card import MOST_MEMBERS, ModelCard

if TYPE_CHECKING:
    import torch

ALIKE = {
    "network": "network",
    "arguments": "arguments of the network",
    "preprocessing": "preprocessing",
    "postprocessing": "postprocessing",
    "modality": "modality",
    "window": "window",
}
HINT = "Combine models that were trained with the same settings, for example the folds of a cross-validation."


def combine_bundles(sources: Sequence[PathLike], target: PathLike, name: str) -> ModelCard:
    """Write a bundle with the weights of all ``sources``; its card, most of which is the first one's.

    A source may contain several networks itself. The prediction averages their class probabilities (Myronenko 2018,
    section 3.7: an ensemble of ten), and takes as much longer.

    Raises
    ------
    UsageError
        If there are fewer than two.
    ModelError
        If one is foreign or damaged, or they differ in more than their weights.
    FileError, ResourceError
        If the bundle cannot be written.
    """
    if len(sources) < 2:
        raise UsageError("A single model cannot be combined.", "Give two or more.")
    cards: list[ModelCard] = []
    weights: dict[str, torch.Tensor] = {}
    for source in sources:
        card, found = load_weights(source)
        if cards:
            _check_alike(sources[0], cards[0], source, card)
        weights |= _moved(found, card.members, sum(one.members for one in cards))
        cards.append(card)
    members = sum(card.members for card in cards)
    if members > MOST_MEMBERS:
        raise ModelError(f"There are {members} networks to combine, and {MOST_MEMBERS} is the most.", "Give fewer.")
    return save_bundle(Path(target), _card(cards, members, name), weights)


def _check_alike(first: PathLike, wanted: ModelCard, other: PathLike, found: ModelCard) -> None:
    for field, words in ALIKE.items():
        if getattr(wanted, field) != getattr(found, field):
            raise ModelError(f"{other} differs from {first} in its {words}.", HINT)
    if [label.name.casefold() for label in wanted.labels] != [label.name.casefold() for label in found.labels]:
        raise ModelError(f"{other} segments other structures than {first}.", HINT)


def _moved(weights: dict[str, torch.Tensor], members: int, before: int) -> dict[str, torch.Tensor]:
    """The weights of a bundle as those of an ensemble, in which ``before`` networks come first."""
    if members == 1:
        return {f"members.{before}.{name}": tensor for name, tensor in weights.items()}
    moved = {}
    for name, tensor in weights.items():
        prefix, number, rest = name.split(".", 2)
        moved[f"{prefix}.{before + int(number)}.{rest}"] = tensor
    return moved


def _card(cards: Sequence[ModelCard], members: int, name: str) -> ModelCard:
    first = cards[0]
    axes = "".join(axis for axis in "zyx" if all(axis in card.mirrored_axes for card in cards))
    expected = first.expectations
    if expected is not None and expected.layer and first.members == 1:
        expected = replace(expected, layer=f"members.0.{expected.layer}")
    return replace(
        first,
        name=name,
        data=_joined(card.data for card in cards),
        license=_joined(card.license for card in cards),
        date=max(card.date for card in cards),
        mirrored=bool(axes) and all(card.mirrored for card in cards),
        mirrored_axes=axes or first.mirrored_axes,
        expectations=expected,
        figures={},
        members=members,
    )


def _joined(texts: Iterable[str]) -> str:
    """Different texts, one after the other."""
    return "; ".join(dict.fromkeys(text for text in texts if text))
