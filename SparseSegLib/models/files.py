"""Reading the two files of a bundle, in a folder or a zip, at most as much of them as they declare.

Standard library only.
"""

from __future__ import annotations

import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from SparseSegLib.errors import ModelError
from SparseSegLib.files.replacing import locate
from SparseSegLib.models.zipped import find_member
from SparseSegLib.text import brief

CARD = "model.json"
LARGEST_CARD = 1 << 20  # bytes
LARGEST_WEIGHTS = 4 << 30
PIECE = 1 << 20
ATTEMPTS = 5
HINT = "Copy or export the model again."

T = TypeVar("T")


def is_zip(path: Path) -> bool:
    """Whether a bundle of this name is a zip."""
    return path.suffix.lower() == ".zip"


def is_bundle(path: Path) -> bool:
    """Whether a bundle may lie at ``path``: a zip, or a folder with a card."""
    if is_zip(path) and os.path.isfile(path):
        return True
    try:
        steadily(path, lambda: _require_card(path))
    except (ModelError, ValueError):  # no system has files of names that raise ValueError
        return False
    return True


def read_member(path: Path, name: str, most: int) -> bytearray:
    """Return the content of a bundle's file; raises as :func:`read_pieces`."""
    content = bytearray()
    for piece in read_pieces(path, name, most):
        content += piece
    return content


def read_pieces(path: Path, name: str, most: int) -> Iterator[bytes]:
    """Return the content of a bundle's file, piece by piece, and never more than it declares.

    Parameters
    ----------
    path : the bundle, a folder or a zip
    name : of the file in it
    most : bytes that it may have

    Raises
    ------
    ModelError
        If it is missing, too large, no ordinary file, or damaged.
    """
    try:
        with _opened(path, name) as (stream, size):
            if size > most:
                raise ModelError(f"{path} is no model: its {name} is too large.", "Do not use it.")
            left = size
            while left > 0 and (piece := stream.read(min(PIECE, left))):
                left -= len(piece)
                yield piece
            if left > 0:
                raise ModelError(f"{path} is damaged: its {name} ends too early.", HINT)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.", HINT) from error
    except Exception as error:  # a damaged zip can end in many an exception
        raise ModelError(f"{path} is no zip, or it is damaged: {brief(error)}.", HINT) from error


def steadily(path: Path, read: Callable[[], T]) -> T:
    """Return what ``read`` returns; where it fails since the bundle was replaced meanwhile, it reads again."""
    for attempt in range(ATTEMPTS):
        before = _state(path)
        try:
            return read()
        except ModelError:
            if _state(path) == before:
                raise
        time.sleep(0.01 * attempt)
    return read()


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """A bundle's file, and how many bytes it has or declares."""
    place = locate(path)
    if place.is_dir():
        with _open_regular(place / name, path, name) as stream:
            yield stream, os.fstat(stream.fileno()).st_size
        return
    if not place.exists():
        raise ModelError(f"There is no model {path}.", "Check the name and the folder.")
    with _open_regular(place, path, name) as file, zipfile.ZipFile(file) as archive:
        info = find_member(archive, path, name)
        if info is None:
            raise _missing(path, name)
        with archive.open(info) as member:
            yield member, info.file_size


def _open_regular(file: Path, path: Path, name: str) -> IO[bytes]:
    """Open a file, but nothing that could block or never end, as devices do."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ModelError(f"{path} is no model: {file.name} in it is no ordinary file.", "Do not use it.")
        return open(file, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path, name) from None


def _state(path: Path) -> tuple[object, ...]:
    """A state that differs after the bundle was replaced."""
    try:
        place = locate(path)
        found = os.stat(place / CARD if place.is_dir() else place)
    except (OSError, ValueError):
        return ()
    return place, found.st_ino, found.st_mtime_ns, found.st_size


def _require_card(folder: Path) -> None:
    if not os.path.isfile(locate(folder) / CARD):
        raise _missing(folder, CARD)


def _missing(path: Path, name: str) -> ModelError:
    return ModelError(f"{path} is no model: it has no {name}.", "Choose the folder or the zip of a model.")
