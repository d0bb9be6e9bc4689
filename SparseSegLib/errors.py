"""Errors for users: one exception class for each kind.

Every class has a ``code`` (a word that programs can test; the worker's ``failed`` event carries it) and an
``exit_code`` (what the command line returns). Messages say what is wrong, hints say what to do.
"""

from __future__ import annotations


class SparseSegError(Exception):
    """Base of all errors that are meant for the user.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence.
    hint : str
        What the user can do about it, in one sentence; may be empty.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(SparseSegError):
    """An invalid setting or argument."""

    code = "usage"
    exit_code = 2


class FileError(SparseSegError):
    """A file that is missing, truncated, foreign or cannot be written."""

    code = "file"
    exit_code = 3


class VolumeError(SparseSegError):
    """An image that cannot be worked on: NaN, constant, RGB, 4D, a channel missing."""

    code = "volume"
    exit_code = 4


class AnnotationError(SparseSegError):
    """Sparse labels that cannot be learned from: none, or one class only."""

    code = "annotation"
    exit_code = 5


class GeometryError(SparseSegError):
    """Image and labels that do not lie on the same grid."""

    code = "geometry"
    exit_code = 6


class ModelError(SparseSegError):
    """A model bundle that is foreign, damaged or does not fit the image."""

    code = "model"
    exit_code = 7


class DependencyError(SparseSegError):
    """A Python package that is needed and not installed."""

    code = "dependency"
    exit_code = 8


class ResourceError(SparseSegError):
    """Not enough memory or disk space."""

    code = "resource"
    exit_code = 9


class JobError(SparseSegError):
    """A worker process that broke or a job folder that cannot be used."""

    code = "job"
    exit_code = 10


class InternalError(SparseSegError):
    """Something that should not happen: a fault of the program, not of the user's."""

    code = "internal"
    exit_code = 70


class Canceled(SparseSegError):  # noqa: N818 - no error
    """The user ended the work; nothing went wrong."""

    code = "canceled"
    exit_code = 130

    def __init__(self, message: str = "Canceled.", hint: str = "") -> None:
        super().__init__(message, hint)
