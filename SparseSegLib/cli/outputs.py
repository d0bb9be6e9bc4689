"""Checks of results before the work: that they can be written, and that they replace nothing."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from SparseSegLib.errors import SparseSegError, UsageError
from SparseSegLib.files import write_error, write_json
from SparseSegLib.files.zarr_folder import is_zarr

LABEL_ENDINGS = (".nrrd", ".nii", ".nii.gz", ".mha", ".tif", ".tiff", ".zarr")
MADE_FILE = "outputs.json"
LONGEST = 255  # of a name in bytes, where the system does not say


def check_outputs(
    outputs: Sequence[Path],
    inputs: Iterable[Path] = (),
    *,
    overwrite: bool = False,
    endings: tuple[str, ...] = (),
    beside: Sequence[str] = (),
    folders: bool = False,
    job: Path | None = None,
) -> None:
    """Refuse results that could not be written, or that would replace something, before anything is read.

    Parameters
    ----------
    outputs : the files to write
    inputs : what is read: files and folders
    overwrite : whether files that are there may be replaced; never those that are read
    endings : what names may end in; any if empty
    beside : what is added to a result's name for files beside it
    folders : whether results may be folders
    job : the folder of the job, whose own results of an earlier run may be replaced

    Raises
    ------
    UsageError
        If the result is an input, is there already, cannot have that name, or its folder does not exist.
    FileError
        If its folder cannot be written to.
    """
    sources = list(inputs)
    everything = [path.with_name(path.name + more) for path in outputs for more in ("", *beside)]
    for path in everything:
        check_name(path)
    for path in outputs:
        if endings and not path.name.lower().endswith(endings):
            raise UsageError(f"{path} has no ending that can be written.", f"Use {', '.join(endings)}.")
    for one, other in combinations(everything, 2):
        if os.path.realpath(one).casefold() == os.path.realpath(other).casefold():  # one file on many systems
            raise UsageError(f"Two results would be one file: {other}.", "Give them different names.")
    for path in everything:
        _check_no_input(path, sources)
    for folder in dict.fromkeys(path.absolute().parent for path in outputs):
        check_folder(folder)
    for path in outputs:
        if path.is_dir() and not folders and not is_zarr(path):
            raise UsageError(f"{path} is a folder.", "Give the name of a file.")
        if job is not None and path.absolute().parent.resolve() == job.resolve():
            raise UsageError(f"{path} is in the job's folder.", "Write the result to another folder.")
        if not overwrite and not _is_made_by(job, path):
            check_new(path)


def check_new(path: Path) -> None:
    """Raise UsageError if something is at ``path``."""
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already.", "Choose another name, or add --overwrite.")


def check_name(path: Path) -> None:
    """Raise UsageError if a file of this name cannot be."""
    parent, longest = path.absolute().parent, LONGEST
    with suppress(OSError, AttributeError, ValueError):
        longest = os.pathconf(parent, "PC_NAME_MAX")
    if "\0" in str(path):
        raise UsageError(f"{path} is no name for a file.", "Choose another one.")
    if len(os.fsencode(path.name)) > longest:
        raise UsageError(
            f"The name {path.name} is too long: at most {longest} bytes, files beside it included.",
            "Choose a shorter one.",
        )


def check_folder(folder: Path) -> None:
    """Raise UsageError if there is no such folder, FileError if nothing can be written there."""
    try:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise UsageError(f"The folder {folder} {what}.", "Create it first, or choose another one.")
        trial = folder / f".{secrets.token_hex(8)}.part"
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise write_error(folder, error) from error


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file; links are followed."""
    with suppress(OSError):
        if one.exists() and other.exists():
            return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def _check_no_input(output: Path, inputs: Sequence[Path]) -> None:
    for source in inputs:
        if is_same(output, source):
            raise UsageError(f"{output} is read, and cannot be the result, too.", "Give the result another name.")
        if output.is_dir() and source.resolve().is_relative_to(output.resolve()):
            raise UsageError(f"{source}, which is read, lies in {output}.", "Give the result another name.")
        if source.is_dir() and _lies_in(output, source):
            raise UsageError(
                f"{output} is one of the files in {source}, which are read.", "Give the result another name or folder."
            )


def _lies_in(output: Path, folder: Path) -> bool:
    """Whether a file that is there is, perhaps by a link, one of a folder's own."""
    if not output.exists():
        return False
    with suppress(OSError):
        real = output.resolve()
        return real.parent == folder.resolve() or any(is_same(output, file) for file in folder.iterdir())
    return False


def _is_made_by(job: Path | None, path: Path) -> bool:
    """Whether a file is the result of an earlier run of the job, and nobody has changed it since."""
    return job is not None and _made(job).get(str(path.absolute())) == _stamp(path) != []


def note_outputs(job: Path, outputs: Iterable[Path]) -> None:
    """Note in a job's folder which results it has made, so that the job may replace them; never fails."""
    made = _made(job) | {str(path.absolute()): _stamp(path) for path in outputs}
    with suppress(OSError, SparseSegError, ValueError):
        write_json(job / MADE_FILE, made)


def _made(job: Path) -> dict[str, list[int]]:
    try:
        made = json.loads((job / MADE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return made if isinstance(made, dict) else {}


def _stamp(path: Path) -> list[int]:
    """Sizes and times by which a file, or a folder's files, are recognized as unchanged."""
    with suppress(OSError):
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        status = [file.stat() for file in files]
        return [number for one in status for number in (one.st_size, one.st_mtime_ns)]
    return []
