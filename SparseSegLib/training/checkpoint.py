"""Checkpoints: everything a training needs to go on as if nothing had happened, in one file."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from SparseSegLib.atomic import atomic_path
from SparseSegLib.errors import FileError

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists and dictionaries of them) beside ``path`` and rename it.

    Raises ResourceError if the disk is full; the last checkpoint then stays as it is.
    """
    content = io.BytesIO()  # torch's own writer reports a full disk as a plain RuntimeError
    torch.save({"format": FORMAT, **state}, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; runs no code from the file. Raises FileError for a foreign one."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise FileError(f"The checkpoint {path} cannot be read: {error}", "Delete it to start over.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FileError(f"{path} is no checkpoint of this version.", "Delete it to start over.")
    return state
