"""Saving and loading bundles. A foreign or damaged one is refused and runs no code."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SparseSegLib.atomic import PathLike
from SparseSegLib.errors import ModelError, UsageError
from SparseSegLib.models.card import ModelCard, card_from_json, card_to_json
from SparseSegLib.models.files import CARD, HINT, WEIGHTS, read_member, write_members

if TYPE_CHECKING:
    import torch
    from torch import nn

LARGEST_ARGUMENT = 1024


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
    """
    import torch

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    if half:
        plain = {name: tensor.half() if tensor.dtype == torch.float32 else tensor for name, tensor in plain.items()}
    if not _all_finite(plain):
        raise ModelError(
            f"Cannot write {path}: its weights have values that are not a number.",
            "The training has diverged. Repeat it in float32, or with volumes for validation.",
        )
    content = io.BytesIO()
    torch.save(plain, content)
    card = replace(card, sha256=hashlib.sha256(content.getbuffer()).hexdigest())
    card_from_json(json.loads(json.dumps(card_to_json(card))), str(path))  # what cannot be read is not written
    write_members(Path(path), _encode(card), content.getvalue())
    return card


def load_card(path: PathLike) -> ModelCard:
    """Read a bundle's card, without its weights and without torch; ModelError if there is none or it is damaged."""
    path = Path(path)
    try:
        content = json.loads(read_member(path, CARD).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The model card of {path} is damaged: it is no JSON.", HINT) from error
    return card_from_json(content, str(path))


def copy_bundle(source: PathLike, target: PathLike) -> ModelCard:
    """Copy a bundle that is whole, folder or zip, to a folder or zip; nothing but card and weights goes along.

    Raises ModelError for a foreign or damaged one.
    """
    card = load_card(source)
    write_members(Path(target), _encode(card), _checked_weights(Path(source), card))
    return card


def load_network(path: PathLike, device: torch.device | str = "cpu") -> tuple[ModelCard, nn.Module]:
    """Read a bundle and build its network, ready to predict.

    Raises
    ------
    ModelError
        If it is foreign or damaged, the hash is another one, its weights are no plain tensors or do not fit its
        network, or the network is not known. No code from the bundle is run.
    """
    import torch

    card, weights = load_weights(path)
    with torch.random.fork_rng(devices=[]):
        network = _create(Path(path), card)
    network.load_state_dict(weights)
    return card, network.to(device).eval().requires_grad_(False)


def load_weights(path: PathLike) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Read a bundle and its weights in float32, which fit the card's network; ModelError as :func:`load_network`."""
    import torch

    path = Path(path)
    card = load_card(path)
    weights = _in_full(_read_weights(path, _checked_weights(path, card)))
    with torch.device("meta"):  # costs no memory: the sizes are compared before anything is made
        _check_fit(path, _create(path, card), weights)
    return card, weights


def _encode(card: ModelCard) -> bytes:
    return (json.dumps(card_to_json(card), ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode("utf-8")


def _checked_weights(path: Path, card: ModelCard) -> bytes:
    content = read_member(path, WEIGHTS)
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise ModelError(f"The weights of {path} are not those that its card describes (SHA-256 differs).", HINT)
    return content


def _read_weights(path: Path, content: bytes) -> dict[str, torch.Tensor]:
    import torch

    try:
        weights: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"The weights of {path} hold something else than numbers; nothing of it was run.", "Do not use this model."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"The weights of {path} are damaged and cannot be read.", HINT) from error
    if not isinstance(weights, dict) or not all(_is_plain(name, tensor) for name, tensor in weights.items()):
        raise ModelError(f"The weights of {path} are no plain state dict.", HINT)
    if sum(tensor.numel() * tensor.element_size() for tensor in weights.values()) > len(content):
        raise ModelError(f"The weights of {path} claim to be larger than their file.", "Do not use this model.")
    if not _all_finite(weights):
        raise ModelError(f"The weights of {path} have values that are not a number.", HINT)
    return dict(weights)


def _all_finite(weights: dict[str, torch.Tensor]) -> bool:
    import torch

    return all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


def _in_full(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Numbers that were kept in half precision as float32, the type that every network here has."""
    import torch

    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in weights.items()}


def _is_plain(name: Any, tensor: Any) -> bool:
    import torch

    dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
    return dense and isinstance(name, str)


def _create(path: Path, card: ModelCard) -> nn.Module:
    """The card's network, or as many of them as it has members."""
    from SparseSegLib.networks.ensemble import Ensemble

    if card.members == 1:
        return _create_one(path, card)
    return Ensemble([_create_one(path, card) for _ in range(card.members)])


def _create_one(path: Path, card: ModelCard) -> nn.Module:
    from SparseSegLib.networks import create_network, network_names

    if card.network not in network_names():
        raise ModelError(f"{path} needs the network {card.network}, which is not known here.", "Update SparseSeg.")
    numbers = [part for value in card.arguments.values() for part in (value if isinstance(value, list) else [value])]
    if any(not isinstance(number, str) and abs(number) > LARGEST_ARGUMENT for number in numbers):
        raise ModelError(f"The model card of {path} asks for a network that is too large.", "Do not use this model.")
    try:
        network = create_network(card.network, len(card.preprocessing.channels), card.classes, **card.arguments)
    except (UsageError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        raise ModelError(f"The network of {path} cannot be made: {error}.", HINT) from error
    if getattr(network, "dimensions", 0) != 3:
        raise ModelError(f"{path} has the network {card.network}, which works on slices, not volumes.", HINT)
    return network


def _check_fit(path: Path, network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    wanted = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}
    if wanted != found:
        names = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        raise ModelError(f"The weights of {path} do not fit its network {_first(names)}.", "Choose another model.")


def _first(names: list[str]) -> str:
    return f"({', '.join(names[:3])}{' and others' if len(names) > 3 else ''})"
