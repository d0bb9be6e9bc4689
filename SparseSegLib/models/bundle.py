"""Saving and loading bundles. A foreign or damaged one is refused and runs no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SparseSegLib.errors import ModelError
from SparseSegLib.files import PathLike
from SparseSegLib.models.card import SAFETENSORS, ModelCard, card_from_json, card_to_json
from SparseSegLib.models.files import (
    CARD,
    HINT,
    LARGEST_CARD,
    LARGEST_WEIGHTS,
    read_member,
    read_pieces,
    steadily,
)
from SparseSegLib.models.writing import write_bundle
from SparseSegLib.torch_version import require_torch

if TYPE_CHECKING:
    import torch
    from torch import nn


def save_bundle(path: PathLike, card: ModelCard, weights: dict[str, torch.Tensor], *, half: bool = False) -> ModelCard:
    """Write a bundle, whole or not at all: a zip if the name ends so, else a folder.

    Parameters
    ----------
    path : where; an older bundle there is replaced
    card : its ``sha256`` is set here
    weights : the network's state dict, for several members that of an
        :class:`~SparseSegLib.networks.ensemble.Ensemble`
    half : whether to keep its float32 numbers in half precision, three digits in half the space; a network that is
        loaded from there works in float32 again

    Returns
    -------
    The card as written.

    Raises
    ------
    ModelError
        If a weight is no number, or the card could not be read again.
    FileError, ResourceError
        If the bundle cannot be written.
    DependencyError
        If the package safetensors is missing.
    """
    from SparseSegLib.models.weights import are_finite, encode_weights, in_half

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    if half:
        plain = in_half(plain)
    if not are_finite(plain):
        raise ModelError(
            f"Cannot write {path}: its weights have values that are not a number.",
            "The training has diverged. Repeat it in float32, or with volumes for validation.",
        )
    content = encode_weights(plain)
    card = replace(card, weights_file=SAFETENSORS, sha256=hashlib.sha256(content).hexdigest())
    card = _readable(card, path)
    write_bundle(Path(path), _encode(card), card.weights_file, [content])
    return card


def load_card(path: PathLike) -> ModelCard:
    """Read a bundle's card, without its weights and without torch; ModelError if there is none or it is damaged."""
    path = Path(path)
    return steadily(path, lambda: _read_card(path))


def copy_bundle(source: PathLike, target: PathLike, **changes: Any) -> ModelCard:
    """Copy a bundle that is whole, folder or zip, to a folder or zip; nothing but card and weights goes along.

    ``changes`` are texts of the card that the copy has instead. The target may be the source.

    Raises ModelError for a foreign or damaged one, FileError or ResourceError if the copy cannot be written.
    """
    source = Path(source)

    def copy() -> ModelCard:
        card = _read_card(source)
        described = _readable(replace(card, **changes), source)
        write_bundle(Path(target), _encode(described), card.weights_file, _checked(source, card))
        return described

    return steadily(source, copy)


def load_network(path: PathLike, device: torch.device | str = "cpu") -> tuple[ModelCard, nn.Module]:
    """Read a bundle and build its network, ready to predict.

    Raises
    ------
    ModelError
        If it is foreign or damaged, the hash is another one, its weights are no plain tensors or do not fit its
        network, or the network is not known. No code from the bundle is run.
    DependencyError
        If PyTorch is missing or too old, or the package safetensors is missing.
    """
    card, weights = load_weights(path)

    from SparseSegLib.models.building import create

    network = create(Path(path), card)
    network.load_state_dict(weights)
    return card, network.to(device).eval().requires_grad_(False)


def load_weights(path: PathLike) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Read a bundle and its weights in float32, which fit the card's network; raises as :func:`load_network`."""
    require_torch()
    path = Path(path)
    return steadily(path, lambda: _read_weights(path))


def _read_card(path: Path) -> ModelCard:
    try:
        content = json.loads(read_member(path, CARD, LARGEST_CARD).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The model card of {path} is damaged: it is no JSON.", HINT) from error
    return card_from_json(content, str(path))


def _read_weights(path: Path) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    from SparseSegLib.models.building import check_fit, largest_file, weight_shapes
    from SparseSegLib.models.weights import are_finite, decode_weights, in_full

    card = _read_card(path)
    shapes = weight_shapes(path, card)
    content = read_member(path, card.weights_file, min(LARGEST_WEIGHTS, largest_file(shapes)))
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise _other_weights(path)
    weights = in_full(decode_weights(content, path, card.weights_file))
    check_fit(path, shapes, weights)
    if not are_finite(weights):
        raise ModelError(f"The weights of {path} have values that are not a number.", HINT)
    return card, weights


def _checked(path: Path, card: ModelCard) -> Iterator[bytes]:
    """The weights' file in pieces; ModelError in the end if they are not those that the card describes."""
    found = hashlib.sha256()
    for piece in read_pieces(path, card.weights_file, LARGEST_WEIGHTS):
        found.update(piece)
        yield piece
    if found.hexdigest() != card.sha256:
        raise _other_weights(path)


def _other_weights(path: Path) -> ModelError:
    return ModelError(f"The weights of {path} are not those that its card describes (SHA-256 differs).", HINT)


def _readable(card: ModelCard, path: PathLike) -> ModelCard:
    """The card as it is read again: what cannot be read is not written."""
    return card_from_json(json.loads(json.dumps(card_to_json(card))), str(path))


def _encode(card: ModelCard) -> bytes:
    return (json.dumps(card_to_json(card), ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode("utf-8")
