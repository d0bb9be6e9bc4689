"""The network that a card describes: the shapes of its weights, before any memory is allocated, and the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from SparseSegLib.errors import ModelError, UsageError
from SparseSegLib.models.card import ModelCard
from SparseSegLib.models.files import HINT
from SparseSegLib.text import brief

if TYPE_CHECKING:
    import torch
    from torch import nn

LARGEST_ARGUMENT = 1024
LARGEST_SUM = 4096  # of the numbers of one argument, such as blocks or channels of all levels
MOST_LEVELS = 16  # each of which halves the resolution
MOST_WEIGHTS = 100_000  # tensors of all members
ROOM = 1 << 20  # bytes of a weights' file beside its numbers
ROOM_EACH = 4096  # and more of them for each tensor

Shapes = dict[str, tuple["torch.Size", "torch.dtype"]]


def weight_shapes(path: Path, card: ModelCard) -> Shapes:
    """Size and type of each weight of the card's network, or of as many as it has members; takes no memory for them.

    Raises ModelError if there is no such network. ``path`` is what to call the bundle in messages.
    """
    import torch

    with torch.device("meta"):
        shapes = _shapes(_create_one(path, card).state_dict())
    if card.members * len(shapes) > MOST_WEIGHTS:
        raise _too_large(path)
    if card.members == 1:
        return shapes
    return {f"members.{member}.{name}": shape for member in range(card.members) for name, shape in shapes.items()}


def step_cost(path: Path, card: ModelCard) -> float:
    """Floating-point operations of one prediction of the card's window by one of its networks; computes none of them.

    A training step takes about three times as many. Raises ModelError if there is no such network.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.inference_mode():
        _create_one(path, card)(torch.empty(1, len(card.preprocessing.channels), *card.window))
    return float(counter.get_total_flops())


def largest_file(shapes: Shapes) -> int:
    """Bytes that a file of such weights has at most."""
    return ROOM + sum(ROOM_EACH + size.numel() * kind.itemsize for size, kind in shapes.values())


def check_fit(path: Path, wanted: Shapes, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise ModelError if weights are missing, too many, or of another size or type."""
    found = _shapes(weights)
    if wanted != found:
        names = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        raise ModelError(f"The weights of {path} do not fit its network {_first(names)}.", "Choose another model.")


def create(path: Path, card: ModelCard) -> nn.Module:
    """The card's network, or as many of them as it has members; random numbers outside are as they were."""
    import torch

    from SparseSegLib.networks.ensemble import Ensemble

    with torch.random.fork_rng(devices=[]):
        if card.members == 1:
            return _create_one(path, card)
        return Ensemble([_create_one(path, card) for _ in range(card.members)])


def _create_one(path: Path, card: ModelCard) -> nn.Module:
    from SparseSegLib.networks import create_network, network_names

    if card.network not in network_names():
        raise ModelError(f"{path} needs the network {card.network[:60]}, which is not known here.", "Update SparseSeg.")
    if _is_too_large(card):
        raise _too_large(path)
    try:
        network = create_network(card.network, len(card.preprocessing.channels), card.classes, **card.arguments)
    except Exception as error:  # arguments of any kind end in any exception
        reason = error.message.rstrip(".") if isinstance(error, UsageError) else brief(error)
        raise ModelError(f"The network of {path} cannot be made: {reason}.", HINT) from error
    if getattr(network, "dimensions", 0) != 3:
        raise ModelError(f"{path} has the network {card.network}, which works on slices, not volumes.", HINT)
    return network


def _is_too_large(card: ModelCard) -> bool:
    for value in card.arguments.values():
        parts = value if isinstance(value, list) else [value]
        sizes = [abs(part) for part in parts if not isinstance(part, str)]
        if len(sizes) > MOST_LEVELS or max(sizes, default=0) > LARGEST_ARGUMENT or sum(sizes) > LARGEST_SUM:
            return True
    return False


def _too_large(path: Path) -> ModelError:
    return ModelError(f"The model card of {path} asks for a network that is too large.", "Do not use this model.")


def _shapes(weights: Mapping[str, torch.Tensor]) -> Shapes:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}


def _first(names: list[str]) -> str:
    shown = [name.encode("ascii", "backslashreplace").decode()[:80] for name in names[:3]]
    return f"({', '.join(shown)}{' and others' if len(names) > 3 else ''})"
