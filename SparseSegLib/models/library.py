"""The models at hand: those of the user's own library and those that come with SparseSeg. Standard library only."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from SparseSegLib.errors import FileError, ModelError, UsageError
from SparseSegLib.files import PathLike
from SparseSegLib.files.replacing import remove_folder, repair, standing
from SparseSegLib.models.bundle import copy_bundle, load_card
from SparseSegLib.models.card import ModelCard
from SparseSegLib.models.describing import check_description
from SparseSegLib.models.files import is_bundle, is_zip
from SparseSegLib.models.lock import library_lock
from SparseSegLib.resources import resource_folders

VARIABLE = "SPARSESEG_MODELS"
LONGEST_NAME = 120  # bytes of a model's folder; others are made beside it whose names are longer
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows gives to devices."""


@dataclass(frozen=True)
class ModelEntry:
    """A model in the library.

    Attributes
    ----------
    path : its folder or zip
    shipped : whether it came with SparseSeg
    card : its card, or None if that cannot be read
    problem : why the card cannot be read, or ""
    replaced : whether another one of that name was there before it was added
    """

    path: Path
    shipped: bool
    card: ModelCard | None
    problem: str = ""
    replaced: bool = False

    @property
    def name(self) -> str:
        """The card's name, or the file's if the card cannot be read."""
        return self.card.name if self.card is not None else self.path.name


def user_folder(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """The folder of a user's own models: ``SPARSESEG_MODELS``, else one for application data."""
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE]).expanduser()
    if platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "SparseSeg" / "Models"


def shipped_folders() -> tuple[Path, ...]:
    """The folders of the models that come with SparseSeg: in the package, or Resources/ in a checkout."""
    return resource_folders("Models")


class ModelLibrary:
    """The models of one user.

    Parameters
    ----------
    folder : path, optional
        The user's own models; by default :func:`user_folder`. It is made when the first model comes in.
    shipped : paths, optional
        Folders of further models that stay as they are; by default :func:`shipped_folders`.
    """

    def __init__(self, folder: PathLike | None = None, shipped: Sequence[Path] | None = None) -> None:
        self.folder = user_folder() if folder is None else Path(folder)
        self.shipped = shipped_folders() if shipped is None else tuple(shipped)

    def entries(self) -> tuple[ModelEntry, ...]:
        """All models by name, the user's own before those shipped; a damaged one has its ``problem``."""
        entries = self._own()
        entries += [_entry(path, True) for folder in self.shipped for path in _bundles(folder)]
        return tuple(sorted(entries, key=lambda entry: (entry.name.casefold(), entry.shipped, str(entry.path))))

    def find(self, name: PathLike) -> ModelEntry:
        """The model of that name (in any case), or at that path; the user's own before one shipped.

        Raises
        ------
        ModelError
            If there is none, or its card is damaged.
        """
        entries = self.entries()
        found = _called(name, entries)
        if not found and is_bundle(Path(name)):
            found = [_entry(Path(name), False)]
        if not found:
            known = ", ".join(entry.name for entry in entries if entry.card is not None) or "none yet"
            raise ModelError(
                f"There is no model {name}.", f"Give a name of the library ({known}), or the path of a model."
            )
        if found[0].card is None:
            load_card(found[0].path)  # raises what is wrong with it
        return found[0]

    def add(self, source: PathLike, *, overwrite: bool = False) -> ModelEntry:
        """Copy a bundle, folder or zip, into the user's library.

        Raises
        ------
        ModelError
            If it is foreign or damaged.
        UsageError
            If a model of that name is there and ``overwrite`` is false.
        FileError, ResourceError
            If the library cannot be written, or another program keeps changing it.
        """
        card = load_card(source)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(
                f"The library {self.folder} cannot be made: {error.strerror}.", f"Set {VARIABLE} to another folder."
            ) from error
        with self._changing():
            own = [entry for entry in self._own() if entry.name.casefold() == card.name.casefold()]
            if own and not overwrite:
                raise UsageError(f"The library has a model {card.name} already.", "Remove it first, or overwrite it.")
            target = own[0].path if own else _free(self.folder, card.name)
            if target.resolve() != Path(source).resolve():
                copy_bundle(source, target)
            return replace(_entry(target, False), replaced=bool(own))

    def own_path(self, name: PathLike) -> Path:
        """Where a model of the user's library is; ModelError if there is none, or it came with SparseSeg."""
        found = _called(name, self.entries())
        own = [entry for entry in found if not entry.shipped]
        if not own:
            why = "comes with SparseSeg and stays as it is" if found else "is not in the library"
            called = found[0].name if found else name
            raise ModelError(f"The model {called} {why}.", "Only models of your own library can be changed or removed.")
        return own[0].path

    def describe(self, model: PathLike, **texts: str) -> ModelEntry:
        """Change what a model of the user's library is called, and what its card says of it.

        Parameters
        ----------
        model : what it is called now, or its path
        texts : any of the fields ``DESCRIBED`` of the card: name, summary, intended_use, data, license, modality

        Raises
        ------
        ModelError
            If there is none, or it came with SparseSeg.
        UsageError
            If a card cannot have such texts, or another model of the library has that name.
        FileError, ResourceError
            If the library cannot be written, or another program keeps changing it.
        """
        check_description(texts)
        with self._changing():
            path = self.own_path(model)
            wanted = texts.get("name", "").casefold()
            if any(entry.path != path and entry.name.casefold() == wanted for entry in self._own()):
                raise UsageError(f"The library has a model {texts['name']} already.", "Choose another name.")
            before = load_card(path)
            renamed = wanted not in ("", before.name.casefold()) and not is_zip(path)
            target = _free(self.folder, texts["name"]) if renamed else path
            copy_bundle(path, target, **texts)
            if target != path:
                _delete(path)
            return _entry(target, False)

    def export(self, name: PathLike, target: PathLike) -> Path:
        """Write a model as one zip to hand on; returns its path."""
        target = Path(target)
        if not is_zip(target):
            raise UsageError(f"{target} does not end in .zip.", "Models are exported as a zip.")
        copy_bundle(self.find(name).path, target)
        return target

    def remove(self, name: PathLike) -> Path:
        """Delete a model of the user's library; where it was.

        Raises
        ------
        ModelError
            If there is none, or it came with SparseSeg.
        """
        with self._changing():
            path = self.own_path(name)
            _delete(path)
            return path

    def _own(self) -> list[ModelEntry]:
        return [_entry(path, False) for path in _bundles(self.folder)]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep others from changing the library meanwhile, after what a program left that was ended is mended."""
        if not self.folder.is_dir():
            yield
            return
        with library_lock(self.folder):
            repair(self.folder)
            yield


def _called(name: PathLike, entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    """The models of that name (in any case) or folder, or at that path; the user's own and readable ones first."""
    wanted = str(name).casefold()
    at = [entry for entry in entries if entry.path == Path(name)]
    found = [entry for entry in entries if wanted in (entry.name.casefold(), entry.path.name.casefold())]
    return at or sorted(found, key=lambda one: (one.shipped, one.card is None, one.name.casefold() != wanted))


def _bundles(folder: Path) -> list[Path]:
    """The paths of a folder's models, including those that are being replaced; none if it cannot be read."""
    try:
        return [path for path in standing(folder) if is_bundle(path)]
    except OSError:
        return []


def _entry(path: Path, shipped: bool) -> ModelEntry:
    try:
        return ModelEntry(path, shipped, load_card(path))
    except ModelError as error:
        return ModelEntry(path, shipped, None, str(error))


def _delete(path: Path) -> None:
    try:
        remove_folder(path)
    except OSError as error:
        raise FileError(f"{path} cannot be deleted: {error.strerror}.", "Close programs that use it.") from error


def _free(folder: Path, name: str) -> Path:
    """A folder for a model of that name: letters of any script, digits, dot, dash; never hidden, never taken."""
    plain = re.sub(r"[^\w.-]+", "-", name).encode()[:LONGEST_NAME].decode(errors="ignore").strip("-. ") or "model"
    plain = f"model-{plain}" if RESERVED.match(plain) else plain
    number, path = 1, folder / plain
    while os.path.lexists(path):
        number += 1
        path = folder / f"{plain}-{number}"
    return path
