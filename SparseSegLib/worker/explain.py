"""Messages for users about whatever ended a task."""

from __future__ import annotations

import errno
import logging
import re

from SparseSegLib.errors import DependencyError, FileError, ResourceError, SparseSegError

INTERNAL_EXIT = 70

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NO_MEMORY = re.compile(  # what numpy, torch, ITK, OpenMP and the systems' loaders say
    r"out of memory|(?:can.?t|cannot|could not|failed to|unable to) (?:allocate|start new thread|map segment)"
    r"|bad.?alloc|not enough memory|paging file|insufficient memory|Resource temporarily unavailable",
    re.IGNORECASE,
)
_NO_ROOM = re.compile(r"no space left on device|disk (?:is )?full|disk quota", re.IGNORECASE)


def explain(error: BaseException) -> tuple[str, str, str, int]:
    """Message, hint, code and exit status for whatever ended a task."""
    known = error if isinstance(error, SparseSegError) else _known(error)
    if known is not None:
        return known.message, known.hint, known.code, known.exit_code
    logging.error("unexpected: %r", error)
    message = f"Something unexpected happened: {type(error).__name__}: {error}"
    return message, "The log file has the details; please report them.", "internal", INTERNAL_EXIT


def _known(error: BaseException) -> SparseSegError | None:
    """The error for the user, where it is clear what is wrong."""
    text = str(error)
    if _is_short_of_memory(error, text):
        return ResourceError("There is not enough memory.", "Use a smaller region, or close other programs.")
    if (isinstance(error, OSError) and error.errno in _FULL) or _NO_ROOM.search(text):
        return ResourceError("The disk is full.", "Make room and resume the job.")
    if isinstance(error, ModuleNotFoundError):
        return DependencyError(
            f"The Python package {error.name} is not installed.",
            "Install it (in Slicer: the PyTorch extension) and try again.",
        )
    if isinstance(error, ImportError):
        return DependencyError(
            f"A Python package cannot be loaded: {text}", "Install it again; the log file has the details."
        )
    if isinstance(error, OSError):
        return FileError(f"A file could not be read or written: {text}.", "Check the path and the permissions.")
    return None


def _is_short_of_memory(error: BaseException, text: str) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or bool(_NO_MEMORY.search(text) and error.errno in (None, errno.EAGAIN))
    return isinstance(error, (RuntimeError, ImportError, SystemError)) and bool(_NO_MEMORY.search(text))
