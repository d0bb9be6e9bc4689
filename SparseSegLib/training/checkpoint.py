"""Checkpoints: everything a training needs to resume exactly, in one file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from SparseSegLib.control import Events
from SparseSegLib.errors import FileError, ResourceError
from SparseSegLib.files import atomic_path

MARK = b"SparseSeg checkpoint 2\n"
"""A file begins with it; the SHA-256 of what follows comes next, then what torch saved."""

FOREIGN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Exceptions of loading the state of another kind of training, or a foreign one."""

_START = len(MARK) + hashlib.sha256().digest_size


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists and dictionaries of them) beside ``path`` and rename it.

    Raises ResourceError if the disk is full; the last checkpoint then stays as it is.
    """
    content = io.BytesIO()  # torch's own writer reports a full disk as a plain RuntimeError
    content.write(MARK.ljust(_START, b"\0"))
    torch.save(state, content)
    with content.getbuffer() as whole, atomic_path(path) as temporary:
        whole[len(MARK) : _START] = hashlib.sha256(whole[_START:]).digest()
        temporary.write_bytes(whole)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; runs no code from the file.

    Raises
    ------
    FileError
        If it is foreign, of another version or damaged.
    ResourceError
        If it does not fit into memory.
    """
    if not path.is_file():
        raise FileError(f"{path} is no file.", "Delete it to start over.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"The checkpoint {path} cannot be read: {error}.", "Delete it to start over.") from error
    except MemoryError as error:
        raise ResourceError(f"There is not enough memory for the checkpoint {path}.") from error
    if not content.startswith(MARK):
        raise FileError(f"{path} is no checkpoint of this version.", "Delete it to start over.")
    saved = memoryview(content)[_START:]
    if hashlib.sha256(saved).digest() != content[len(MARK) : _START]:
        raise FileError(f"The checkpoint {path} cannot be read: it is damaged.", "Delete it to start over.")
    try:
        state = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds; the checksum is right, so that somebody else wrote it
        raise FileError(f"The checkpoint {path} cannot be read: {error}", "Delete it to start over.") from error
    if not isinstance(state, dict):
        raise FileError(f"{path} is no checkpoint of this version.", "Delete it to start over.")
    return state


def find_checkpoint(path: Path | None, events: Events) -> dict[str, Any] | None:
    """The last checkpoint, or None where there is none; one that cannot be used is reported and ignored."""
    if path is None or not path.exists():
        return None
    try:
        return load_checkpoint(path)
    except FileError as error:
        events.message(f"{error.message} The training starts over.")
        return None
