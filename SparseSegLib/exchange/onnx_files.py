"""A model as an ONNX file, with a card beside it that says what is done before and after the network."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SparseSegLib.errors import ModelError
from SparseSegLib.exchange.steps import postprocessing_steps, prediction_steps, preprocessing_steps
from SparseSegLib.extras import require_packages
from SparseSegLib.files import PathLike, atomic_path, read_json, write_json
from SparseSegLib.models import ModelCard, load_network
from SparseSegLib.models.card import card_from_json, card_to_json
from SparseSegLib.models.files import read_member
from SparseSegLib.text import brief
from SparseSegLib.torch_version import require_torch

if TYPE_CHECKING:
    import torch
    from torch import nn

    Weights = dict[str, torch.Tensor]

LARGEST_FILE = 2 << 30  # bytes; a file of ONNX cannot be larger
LARGEST_SIDE = 1024  # voxels of the input along an axis
FORMAT = "SparseSeg ONNX 1"
HINT = "Export the model again, and carry both files, NAME.onnx and NAME.json."
PREFIX = "network."
"""What the names of weights begin with in the file."""


def card_path(path: PathLike) -> Path:
    """The card beside an ONNX file: ``liver.onnx`` has ``liver.json``."""
    return Path(path).with_suffix(".json")


def write_onnx(source: PathLike, target: PathLike) -> ModelCard:
    """Write a bundle's network as ``NAME.onnx``, and ``NAME.json`` beside it; files that are there are replaced.

    The input ``image`` is ``(1, C, Z, Y, X)`` float32, preprocessed, the output ``probabilities`` ``(1, K, Z, Y, X)``.
    Z, Y and X may be any multiples of what the card names or, for a network that cannot do that, the window alone.

    Returns
    -------
    The model's card.

    Raises
    ------
    ModelError
        If the bundle is foreign or damaged, or its network cannot be written as ONNX.
    FileError, ResourceError
        If the files cannot be written.
    DependencyError
        If the packages onnx and onnxscript are missing, or PyTorch.
    """
    require_packages("onnx", "onnx", "onnxscript")
    target = Path(target)
    card, network = load_network(source)
    content, multiple = _exported(network, card)
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
    write_json(card_path(target), _described(card, network, target.name, content, multiple))
    return card


def read_onnx(path: PathLike) -> tuple[ModelCard, Weights]:
    """Read the card and the weights of an ONNX file that :func:`write_onnx` wrote; nothing of it is run.

    Raises
    ------
    ModelError
        If it has no such card beside it, is damaged, or its weights are not those of the network that the card names.
    DependencyError
        If the package onnx is missing, or PyTorch.
    """
    require_packages("onnx", "onnx")
    require_torch()
    from SparseSegLib.models.building import check_fit, weight_shapes

    path = Path(path)
    card, digest = _read_card(path)
    content = bytes(read_member(path.parent, path.name, LARGEST_FILE))
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelError(f"{path} is not the file that {card_path(path).name} describes (SHA-256 differs).", HINT)
    shapes = weight_shapes(path, card)
    weights = {name: tensor for name, tensor in _initializers(content, path).items() if name in shapes}
    if weights and len(weights) < len(shapes):
        raise ModelError(
            f"{path} lacks weights of the network {card.network}: ONNX leaves out what only its training needs.",
            "Import the model's zip or its MONAI bundle.",
        )
    check_fit(path, shapes, weights)
    return card, weights


def _initializers(content: bytes, path: Path) -> Weights:
    import onnx
    import torch
    from onnx import numpy_helper

    try:
        found = onnx.load_model_from_string(content).graph.initializer
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in found):
            raise ValueError("its weights lie in other files")
        return {
            tensor.name.removeprefix(PREFIX): torch.from_numpy(numpy_helper.to_array(tensor).copy())
            for tensor in found
            if tensor.name.startswith(PREFIX)
        }
    except Exception as error:  # a damaged file can end in many an exception
        raise ModelError(f"{path} is damaged and cannot be read: {brief(error)}.", HINT) from error


def _exported(network: nn.Module, card: ModelCard) -> tuple[bytes, int]:
    """The ONNX file, and what the sides of the input must be multiples of; 0 if they must be the window's."""
    import torch

    from SparseSegLib.exchange.network import Probabilities

    plain, channels = Probabilities(network), len(card.preprocessing.channels)
    multiple = _multiple(network)
    if multiple:
        sides = {
            axis: multiple * torch.export.Dim(name, min=1, max=max(2, LARGEST_SIDE // multiple))
            for axis, name in ((2, "z"), (3, "y"), (4, "x"))
        }
        with contextlib.suppress(torch.onnx.OnnxExporterError):
            example = torch.zeros(1, channels, 2 * multiple, 3 * multiple, 4 * multiple)
            return _onnx(plain, example, {"image": sides}), multiple
    try:
        return _onnx(plain, torch.zeros(1, channels, *card.window), None), 0
    except torch.onnx.OnnxExporterError as error:
        raise ModelError(f"The network {card.network} cannot be written as ONNX.", "Export a MONAI bundle.") from error


def _multiple(network: nn.Module) -> int:
    """What the sides of a network's input may be multiples of; 0 where it is written for windows of one size."""
    from SparseSegLib.networks.slice_by_slice import SliceBySlice

    one_size = getattr(network, "margin", 0) or any(isinstance(part, SliceBySlice) for part in network.modules())
    return 0 if one_size else int(getattr(network, "multiple", 0))  # type: ignore[arg-type]


def _onnx(network: nn.Module, example: torch.Tensor, sides: dict[str, Any] | None) -> bytes:
    """A network as ONNX that keeps the names of its weights: optimized, some of them would be merged."""
    import torch

    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_shapes=sides,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes for developers from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _described(card: ModelCard, network: nn.Module, name: str, content: bytes, multiple: int) -> dict[str, Any]:
    margin = int(getattr(network, "margin", 0))
    inside = [f"a multiple of {multiple}"] * 3 if multiple else list(card.window)
    outside = inside if multiple else [side - 2 * margin for side in card.window]
    return {
        "format": FORMAT,
        "file": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "input": {"name": "image", "type": "float32", "shape": [1, len(card.preprocessing.channels), *inside]},
        "output": {"name": "probabilities", "type": "float32", "shape": [1, card.classes, *outside]},
        "preprocessing": preprocessing_steps(card),
        "prediction": prediction_steps(card, margin),
        "postprocessing": postprocessing_steps(card),
        "model": card_to_json(card),
    }


def _read_card(path: Path) -> tuple[ModelCard, str]:
    """The card beside an ONNX file, and the hash that the file has."""
    beside = card_path(path)
    if not beside.is_file():
        raise ModelError(
            f"{path} has no card {beside.name} beside it, so that its network is not known here.",
            "Only models that sparseseg models export wrote can be imported.",
        )
    content = read_json(beside, HINT)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{beside} is no card of a model that SparseSeg exported.", HINT)
    return card_from_json(content.get("model"), str(beside)), str(content.get("sha256"))
