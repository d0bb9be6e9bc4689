"""SimpleITK's readers and writers with quiet streams and errors in plain words."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import SimpleITK as sitk

from SparseSegLib.errors import FileError, GeometryError, SparseSegError
from SparseSegLib.files import PathLike, no_space, noting
from SparseSegLib.io.declared import check_regular, no_memory, truncated

# The libraries under ITK do not pass on the system's error; this is what they say when a write comes up short.
_NO_SPACE = re.compile(
    f"disk space|failed to write|wrote only|only wrote|{os.strerror(errno.ENOSPC)}|{os.strerror(errno.EFBIG)}"
)
_stream_lock = threading.RLock()


@contextlib.contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep what ITK and the C libraries under it print on stderr from the user.

    They print through file descriptor 2, which is the whole process's; one thread at a time does this.
    """
    with _stream_lock:
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        saved = _silence_stderr()
        try:
            yield
        finally:
            if saved is not None:
                os.dup2(saved, 2)
                os.close(saved)
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _silence_stderr() -> int | None:
    """Point file descriptor 2 at nothing; return a copy of what it was, or None where there is none (a GUI)."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        saved = os.dup(2)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
    except (OSError, ValueError):
        return None
    return saved


@contextlib.contextmanager
def reading(path: PathLike) -> Iterator[None]:
    """Turn what SimpleITK and the system raise while reading ``path`` into errors for the user."""
    try:
        with noting(path), quiet_itk():
            yield
    except MemoryError as error:
        raise no_memory(path) from error
    except GeometryError as error:
        raise impossible_grid(path, error) from error
    except OSError as error:
        raise FileError(f"The file {path} cannot be read: {error.strerror}.", "Copy it to another disk.") from error
    except RuntimeError as error:
        raise _read_error(path, str(error)) from error


@contextlib.contextmanager
def writing(path: PathLike, size: int) -> Iterator[None]:
    """Turn what SimpleITK raises while writing ``path`` (``size`` bytes of voxels) into errors for the user."""
    try:
        with quiet_itk():
            yield
    except MemoryError as error:
        raise no_memory(path) from error
    except RuntimeError as error:
        raise incomplete_write(path, size, _reason(str(error))) from error


def incomplete_write(path: PathLike, size: int, reason: str = "") -> SparseSegError:
    """Return the error for a write that did not succeed; without a reason, the file came out too short."""
    if not reason or _NO_SPACE.search(reason) or shutil.disk_usage(Path(path).parent).free < size:
        return no_space(path)
    return FileError(f"Cannot write {path}: {reason}.", "Choose another format, for example .nrrd, or another folder.")


def check_readable(path: PathLike) -> Path:
    """Return the path of a file or folder.

    Raises
    ------
    FileError
        If there is none, it is empty, may not be read, is no regular file (a pipe, a device), or ITK cannot open it
        by its name.
    """
    path = Path(path)
    check_name(path)
    try:
        found = path.exists()
    except OSError:  # longer than a name can be
        found = False
    if not found:
        raise FileError(f"There is no file {path}.", "Check the name and the folder.")
    if not path.is_dir():
        check_regular(path)
    if not os.access(path, os.R_OK):
        raise FileError(f"The file {path} may not be read.", "Ask its owner for permission, or copy it.")
    if path.is_file() and path.stat().st_size == 0:
        raise FileError(f"The file {path} is empty.", "Copy or export it again.")
    return path


def check_name(path: Path) -> None:
    """Raise FileError if a path is no text: a name in another encoding than UTF-8, on which ITK ends the process."""
    text = str(path)
    if "\0" in text:
        raise FileError("A name with a zero byte is no name of a file.", "Choose another one.")
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "replace").decode()
        raise FileError(f"The name {shown} is not in UTF-8.", "Rename the file or folder.") from None


def impossible_grid(path: PathLike, error: GeometryError) -> FileError:
    """Return the error for a file whose grid cannot be."""
    return FileError(f"The file {path} has a grid that cannot be. {error.message}", "Export it again.")


def _read_error(path: PathLike, text: str) -> SparseSegError:
    if re.search("allocate memory|bad_alloc|bad alloc", text):
        return no_memory(path)
    if "Unable to determine ImageIO" in text or "Cannot read requested file" in text:
        return FileError(
            f"The file {path} is not an image of a known format, or it is damaged.",
            "Known are NRRD, NIfTI, MHA/MHD, TIFF and DICOM.",
        )
    if re.search(
        r"fread got only|but received|cannot be read|gzip|inflate|truncat|recognized as a NIFTI", text, re.IGNORECASE
    ):
        return truncated(path)
    if "orthonormal" in text:
        return FileError(
            f"The file {path} has sheared axes, which an image grid cannot have.",
            "Load it in 3D Slicer, harden its transform and save it as .nrrd.",
        )
    return FileError(f"The file {path} cannot be read: {_reason(text)}.", "Export it again, for example as .nrrd.")


def _reason(text: str) -> str:
    """Return the last sentence of a SimpleITK message, without addresses and source files."""
    text = re.sub(r"^.*?ERROR: (\w+\(0x[0-9a-f]+\): )?", "", text, flags=re.DOTALL)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "unknown reason"
