"""Writing a bundle's two files, to a folder or a zip, such that it appears whole or not at all.

Standard library only.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from SparseSegLib.errors import ModelError
from SparseSegLib.files import atomic_path
from SparseSegLib.files.replacing import atomic_folder, locate
from SparseSegLib.models.card import FORMATS
from SparseSegLib.models.files import CARD, is_zip

OWN = {CARD, *FORMATS.values(), ".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files of a bundle, and those that file managers leave in every folder."""


def write_bundle(path: Path, card: bytes, name: str, weights: Iterable[bytes]) -> None:
    """Write a bundle: a zip if its name ends so, else a folder, which replaces an older bundle.

    Parameters
    ----------
    path : where
    card : the content of ``model.json``
    name : of the weights' file
    weights : its content in pieces; if that raises an error, nothing is written

    Raises
    ------
    FileError, ResourceError
        If it cannot be written; the older bundle then stays.
    ModelError
        If something else than a bundle is in the way.
    """
    if is_zip(path):
        _write_zip(path, card, name, weights)
        return
    check_target(path)
    with atomic_folder(path) as new:
        with atomic_path(new / name) as file, open(file, "wb") as stream:
            stream.writelines(weights)
        with atomic_path(new / CARD) as file:
            file.write_bytes(card)


def check_target(path: Path) -> None:
    """Raise ModelError if writing a bundle's folder would replace something that is no bundle, or more than one."""
    place = locate(path)
    if is_zip(path) or not os.path.lexists(place):
        return
    try:
        names = set(os.listdir(place))
    except OSError:
        names = {place.name}
    if names and CARD not in names:
        raise ModelError(f"Cannot write {path}: something else is there.", "Choose another name.")
    if others := sorted(name for name in names - OWN if not name.startswith("._")):  # so macOS calls its own
        raise ModelError(
            f"Cannot write {path}: a model is there, and with it something else ({others[0]}).",
            "Move that away, or choose another name.",
        )


def _write_zip(path: Path, card: bytes, name: str, weights: Iterable[bytes]) -> None:
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(zipfile.ZipInfo(CARD), card, zipfile.ZIP_DEFLATED)
        with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
            for piece in weights:
                member.write(piece)
