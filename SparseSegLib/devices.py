"""The device to compute on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from SparseSegLib.errors import UsageError
from SparseSegLib.torch_version import require_torch


def choose_device(name: str = "auto") -> torch.device:
    """The torch device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises
    ------
    UsageError
        If it is not there.
    DependencyError
        If PyTorch is too old.
    """
    require_torch()
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind = name.split(":", maxsplit=1)[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there:
        raise UsageError(f"There is no device called {name}.", "Use auto, cpu, cuda, cuda:N or mps.")
    if not there[kind]:
        raise UsageError(f"The device {name} is not available here.", "Use auto or cpu.")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"There is no device called {name}.", "Use auto, cpu, cuda, cuda:N or mps.") from error


def describe_device(device: torch.device) -> str:
    """The device in words, with its memory if torch reports it."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if device.type == "mps":
        return "Apple GPU (mps)"
    return f"CPU, {torch.get_num_threads()} threads"


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
