"""The folder that a job works in: the user's, or a temporary one that goes in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from SparseSegLib.cli.kept import keep_log
from SparseSegLib.errors import Canceled, SparseSegError, UsageError
from SparseSegLib.files import TemporaryFolder, write_error
from SparseSegLib.protocol import LOG_FILE


@dataclass
class WorkFolder:
    """A job's folder.

    Attributes
    ----------
    path : where it lies
    temporary : whether it is removed in the end
    keep : set while the only copies of results lie in it: it then stays when something goes wrong
    """

    path: Path
    temporary: bool
    keep: bool = False


@contextmanager
def work_folder(job: Path | None) -> Iterator[WorkFolder]:
    """Give the folder of a job, ``job`` or a temporary one.

    An error while ``keep`` is set leaves a temporary folder where it is, and names it. Otherwise the log that an error
    names is kept elsewhere.

    Raises
    ------
    UsageError
        If ``job`` is a file.
    """
    own = None
    if job is None:
        own = TemporaryFolder()
        work = WorkFolder(own.path, temporary=True)
    else:
        work = WorkFolder(_made(job), temporary=False)
    try:
        yield work
    except (SparseSegError, OSError, KeyboardInterrupt) as error:
        if work.keep:
            if own is not None:
                own.keep()
                own = None
            raise _with_place(error, work) from error
        if work.temporary and isinstance(error, SparseSegError) and str(work.path / LOG_FILE) in error.hint:
            raise _with_log(error, work.path) from error
        raise
    finally:
        if own is not None:
            own.remove()


def _made(job: Path) -> Path:
    if job.exists() and not job.is_dir():
        raise UsageError(f"{job} is a file, and a job needs a folder.", "Choose a new folder for --job.")
    try:
        job.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(job, error) from error
    return job


def _with_log(error: SparseSegError, folder: Path) -> SparseSegError:
    """The error, with the path that the folder's log is kept at."""
    kept = keep_log(folder, temporary=True)
    return type(error)(error.message, error.hint.replace(str(folder / LOG_FILE), str(kept)))


def _with_place(error: BaseException, work: WorkFolder) -> SparseSegError:
    """The error, with the path of the results."""
    shown = error if isinstance(error, SparseSegError) else Canceled()
    if isinstance(error, OSError):
        shown = write_error(error.filename or work.path, error)
    hint = f"The result is kept in {work.path}: with --job {work.path} the same command goes on from there."
    return type(shown)(shown.message, f"{shown.hint}\n{hint}".strip())
