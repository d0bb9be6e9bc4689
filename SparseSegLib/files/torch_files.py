"""Reading untrusted files that ``torch.save`` wrote: data only, and never more than the file contains."""

from __future__ import annotations

import pickle
import zipfile
from typing import Any, BinaryIO

from SparseSegLib.errors import FileError
from SparseSegLib.torch_version import require_torch

LARGEST_PICKLE = 16 << 20  # bytes of a file's structure: names, shapes, numbers; tensors lie beside it
MOST_PARTS = 100_000
DAMAGED = "Restore it from a copy, or make it again."


def load_torch_file(stream: BinaryIO, name: str) -> Any:
    """Return the tensors (on the CPU), numbers, texts, lists and dictionaries of a file; no code from it is run.

    Parameters
    ----------
    stream : the file, open for reading and seeking
    name : what to call it in messages

    Raises
    ------
    FileError
        If it is damaged, no such file, or contains something else.
    DependencyError
        If PyTorch is missing or too old to read foreign files.
    """
    require_torch()
    import torch

    try:
        _check_parts(stream)
        stream.seek(0)
        return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileError(
            f"{name} holds something else than numbers; nothing of it was run.", "Do not use this file."
        ) from error
    except Exception as error:  # a damaged pickle can end in any exception that there is
        raise FileError(f"{name} is damaged and cannot be read.", DAMAGED) from error


def _check_parts(stream: BinaryIO) -> None:
    """Raise BadZipFile if the parts, which lie as they are in such a file, would take more memory than the file."""
    size = stream.seek(0, 2)
    with zipfile.ZipFile(stream) as archive:
        parts = archive.infolist()
    if len(parts) > MOST_PARTS or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise zipfile.BadZipFile("its parts are not stored as PyTorch does it")
    pickles = [part for part in parts if part.filename.endswith(".pkl")]
    if sum(part.file_size for part in parts) > size or sum(part.file_size for part in pickles) > LARGEST_PICKLE:
        raise zipfile.BadZipFile("its parts are larger than the file")
