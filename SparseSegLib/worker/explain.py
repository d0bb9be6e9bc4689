"""Whatever ended a task, in words for the user."""

from __future__ import annotations

import errno
import logging

from SparseSegLib.errors import FileError, ResourceError, SparseSegError

INTERNAL_EXIT = 70


def explain(error: BaseException) -> tuple[str, str, str, int]:
    """Message, hint, code and exit status for whatever ended a task."""
    if isinstance(error, SparseSegError):
        return error.message, error.hint, error.code, error.exit_code
    if isinstance(error, MemoryError):
        error = ResourceError("There is not enough memory.", "Use a smaller region, or close other programs.")
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        error = ResourceError("The disk is full.", "Make room and resume the job.")
    elif isinstance(error, OSError):
        error = FileError(f"A file could not be read or written: {error}.", "Check the path and the permissions.")
    elif isinstance(error, ModuleNotFoundError):
        message = f"The Python package {error.name} is not installed."
        return message, "Install it (in Slicer: the PyTorch extension) and try again.", "dependency", 8
    else:
        logging.error("unexpected: %r", error)
        message = f"Something unexpected happened: {type(error).__name__}: {error}"
        return message, "The log file has the details; please report them.", "internal", INTERNAL_EXIT
    return error.message, error.hint, error.code, error.exit_code
