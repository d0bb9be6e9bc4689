"""Replacing a folder such that at every moment the old or the new one can be read, whatever ends the program.

The new one is written beside its place, the old one renamed aside, the new one renamed in, the old one deleted. What is
left where a program was ended in between has a name that says what it is: ``.NAME.0123456789abcdef.KIND``, with the
kind ``part`` (not yet whole), ``old`` (what stands for NAME while that is not there) or ``gone`` (being deleted).
Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from SparseSegLib.files.atomic import PathLike, atomic_path, write_error

Kind = Literal["part", "old", "gone"]

_LEFT = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.(?P<kind>part|old|gone)", re.DOTALL)


@dataclass(frozen=True)
class LeftOver:
    """A temporary folder beside one that is being replaced, or was when the program ended.

    Attributes
    ----------
    path : where
    name : of the folder that it belongs to
    kind : "part", "old" or "gone"
    """

    path: Path
    name: str
    kind: str


def beside(path: Path, kind: Kind) -> Path:
    """A name that nobody has, beside a folder and belonging to it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.{kind}")


def leftovers(folder: Path) -> list[LeftOver]:
    """The leftovers in a folder, the latest first; none if it cannot be read."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [(name, match) for name in names if (match := _LEFT.fullmatch(name))]
    left = [LeftOver(folder / name, match["name"], match["kind"]) for name, match in found]
    return sorted(left, key=lambda one: _changed(one.path), reverse=True)


def standing(folder: Path) -> list[Path]:
    """The visible content of a folder, including what is being replaced in it.

    Raises OSError if the folder cannot be read.
    """
    names = os.listdir(folder)  # once: in two listings, what is replaced between them could be in neither
    put_aside = {match["name"] for name in names if (match := _LEFT.fullmatch(name)) and match["kind"] == "old"}
    return sorted(folder / name for name in put_aside | {name for name in names if not name.startswith(".")})


def locate(path: Path) -> Path:
    """The path to read a folder at: its own or, while it is being replaced, that of the old one put aside."""
    if os.path.lexists(path):
        return path
    old = (left.path for left in leftovers(path.parent) if left.name == path.name and left.kind == "old")
    return next(old, path)


@contextlib.contextmanager
def atomic_folder(path: PathLike) -> Iterator[Path]:
    """Give a new folder to write to, and put it in the place of ``path`` when the block ends well.

    If the block raises, ``path`` is left as it was and nothing stays behind; what a killed program left there goes.

    Raises
    ------
    ResourceError
        If the disk is full.
    FileError
        If the folder around it does not exist or may not be written to, or the name is too long.
    """
    path = Path(os.path.abspath(path))
    new = beside(path, "part")
    try:
        repair(path.parent, path.name)
        new.mkdir()
        yield new
        replace_folder(path, new)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file or a folder to a place, whole or not at all; raises as `atomic_path` and `atomic_folder` do."""
    if source.is_dir():
        with atomic_folder(target) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def replace_folder(path: Path, new: Path) -> None:
    """Put the folder ``new``, which lies beside it, in the place of ``path``, and delete the old one.

    Raises OSError; then the old one is where it was.
    """
    aside = beside(path, "old") if os.path.lexists(path) else None
    if aside is not None:
        os.replace(path, aside)
    try:
        os.replace(new, path)
    except OSError:
        if aside is not None:
            with contextlib.suppress(OSError):
                os.replace(aside, path)
        raise
    if aside is not None:
        with contextlib.suppress(OSError):  # a file in it may be open on Windows; the next repair deletes it
            remove_folder(aside, of=path)


def remove_folder(path: Path, of: Path | None = None) -> None:
    """Take a folder out of its place at once, then delete it; OSError if it cannot be moved.

    ``of`` is the folder that it belongs to, if not to itself.
    """
    gone = beside(of or path, "gone")
    os.replace(path, gone)
    _delete(gone)


def repair(folder: Path, name: str | None = None) -> None:
    """Put back what was put aside and not replaced, and delete what is left of programs that were ended.

    Nobody may be writing there meanwhile; readers may be reading.

    Parameters
    ----------
    folder : path
    name : of the one folder in it to do that for; by default all
    """
    for left in leftovers(folder):
        if name not in (None, left.name):
            continue
        place = folder / left.name
        with contextlib.suppress(OSError):
            if left.kind == "old" and not os.path.lexists(place):
                os.replace(left.path, place)
            elif left.kind == "old":
                remove_folder(left.path, of=place)
            else:
                _delete(left.path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _changed(path: Path) -> int:
    try:
        return path.lstat().st_ctime_ns
    except OSError:
        return 0
