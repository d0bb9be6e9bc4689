"""The two files of a bundle, in a folder or a zip. A zip is never unpacked: its members are read by name.

Standard library only.
"""

from __future__ import annotations

import os
import secrets
import shutil
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path, PurePosixPath

from SparseSegLib.atomic import atomic_path, write_error
from SparseSegLib.errors import ModelError

CARD = "model.json"
WEIGHTS = "weights.pt"
LARGEST = {CARD: 1 << 20, WEIGHTS: 4 << 30}  # bytes
HINT = "Copy or export the model again."


def is_zip(path: Path) -> bool:
    """Whether a bundle of this name is a zip."""
    return path.suffix.lower() == ".zip"


def is_bundle(path: Path) -> bool:
    """Whether a bundle may lie at ``path``: a zip, or a folder with a card."""
    return (path.is_file() and is_zip(path)) or (path / CARD).is_file()


def read_member(path: Path, name: str) -> bytes:
    """The content of the card or the weights; ModelError if it is missing, too large or the zip is damaged."""
    if path.is_dir():
        return _read_file(path, name)
    if not path.is_file():
        raise ModelError(f"There is no model {path}.", "Check the name and the folder.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_zipped(archive, path, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path} is no zip, or it is damaged: {error}.", HINT) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.", HINT) from error


def _read_file(folder: Path, name: str) -> bytes:
    file = folder / name
    try:
        if file.stat().st_size > LARGEST[name]:
            raise _too_large(folder, name)
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(folder, name) from None
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror or error}.", HINT) from error


def _read_zipped(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    """A member at the top of the archive, or in its only folder."""
    places = [PurePosixPath(info.filename.replace("\\", "/")) for info in archive.infolist()]
    if any(place.is_absolute() or ".." in place.parts or ":" in place.parts[0] for place in places if place.parts):
        raise ModelError(
            f"{path} is no model: it has files that would lie outside of its own folder.", "Do not use it."
        )
    found = [
        info
        for info, place in zip(archive.infolist(), places, strict=True)
        if place.name == name and len(place.parts) <= 2 and not info.is_dir()
    ]
    if not found:
        raise _missing(path, name)
    if len(found) > 1:
        raise ModelError(f"{path} is no model: it has several files {name}.", HINT)
    with archive.open(found[0]) as member:
        content = member.read(LARGEST[name] + 1)
    if len(content) > LARGEST[name]:
        raise _too_large(path, name)
    return content


def write_members(path: Path, card: bytes, weights: bytes) -> None:
    """Write a bundle, whole or not at all: a zip if the name says so, else a folder, which replaces an older one.

    Raises FileError or ResourceError; FileError too if something else than a bundle is in the way.
    """
    if is_zip(path):
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(CARD, card, zipfile.ZIP_DEFLATED)
            archive.writestr(WEIGHTS, weights, zipfile.ZIP_STORED)
        return
    if path.exists() and not (path / CARD).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise ModelError(f"Cannot write {path}: something else is there.", "Choose another name.")
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        temporary.mkdir()
        with atomic_path(temporary / WEIGHTS) as file:
            file.write_bytes(weights)
        with atomic_path(temporary / CARD) as file:
            file.write_bytes(card)
        _replace(path, temporary)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Take a bundle's folder out of its place at once, then delete it."""
    aside = path.with_name(f".{secrets.token_hex(8)}.old")
    try:
        os.replace(path, aside)
    except OSError as error:
        raise write_error(path, error) from error
    shutil.rmtree(aside, ignore_errors=True)


def _replace(path: Path, temporary: Path) -> None:
    with suppress(FileNotFoundError):
        remove_folder(path) if path.is_dir() else None
    os.replace(temporary, path)


def _missing(path: Path, name: str) -> ModelError:
    return ModelError(f"{path} is no model: it has no {name}.", "Choose the folder or the zip of a model.")


def _too_large(path: Path, name: str) -> ModelError:
    return ModelError(f"{path} is no model: its {name} is too large.", "Do not use it.")
