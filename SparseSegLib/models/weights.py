"""The weights of a bundle: tensors by name, as bytes of a file and back. Data only: nothing in them can be run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SparseSegLib.errors import DependencyError, FileError, ModelError
from SparseSegLib.files import load_torch_file
from SparseSegLib.models.card import SAFETENSORS
from SparseSegLib.models.files import HINT

if TYPE_CHECKING:
    import torch

Weights = dict[str, "torch.Tensor"]


def encode_weights(weights: Mapping[str, torch.Tensor]) -> bytes:
    """Return the content of ``weights.safetensors``; DependencyError if the package safetensors is missing."""
    return bytes(_safetensors().save(dict(weights), {"format": "pt"}))


def decode_weights(content: bytearray, path: Path, file: str) -> Weights:
    """Return the tensors that a weights' file holds.

    Parameters
    ----------
    content : of the file
    path : of the bundle, for messages
    file : name of the file, which determines its format

    Raises
    ------
    ModelError
        If it is damaged or contains something else.
    DependencyError
        If the package safetensors is missing, or PyTorch too old to read older files.
    """
    weights = _from_safetensors(content, path) if file == SAFETENSORS else _from_torch(content, path)
    if not isinstance(weights, dict) or not all(_is_plain(name, tensor) for name, tensor in weights.items()):
        raise ModelError(f"The weights of {path} are no plain state dict.", HINT)
    if sum(tensor.numel() * tensor.element_size() for tensor in weights.values()) > len(content):
        raise ModelError(f"The weights of {path} claim to be larger than their file.", "Do not use this model.")
    return dict(weights)


def are_finite(weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether every weight is a number."""
    import torch

    return all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


def in_full(weights: Mapping[str, torch.Tensor]) -> Weights:
    """Numbers that were kept in half precision as float32, the type that every network here has."""
    import torch

    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in weights.items()}


def in_half(weights: Mapping[str, torch.Tensor]) -> Weights:
    """Numbers of type float32 in half precision."""
    import torch

    return {name: tensor.half() if tensor.dtype == torch.float32 else tensor for name, tensor in weights.items()}


def _from_safetensors(content: bytearray, path: Path) -> Any:
    read = _safetensors()
    try:
        return read.load(bytes(content))
    except Exception as error:  # whatever a damaged header leads to
        raise ModelError(f"The weights of {path} are damaged and cannot be read.", HINT) from error


def _from_torch(content: bytearray, path: Path) -> Any:
    try:
        return load_torch_file(io.BytesIO(content), f"The file with the weights of {path}")
    except FileError as error:
        raise ModelError(error.message, HINT) from error


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise DependencyError(
            "Reading and writing models needs the package safetensors.", "Install it with: pip install safetensors"
        ) from error
    return safetensors.torch


def _is_plain(name: Any, tensor: Any) -> bool:
    import torch

    dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
    return dense and isinstance(name, str)
