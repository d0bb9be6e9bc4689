"""Settings of a job, checked: they come from a file that anybody may have written."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from SparseSegLib.errors import JobError

Settings = TypeVar("Settings")

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list",
    dict: "a table",
}


def make_settings(kind: type[Settings], chosen: Mapping[str, Any]) -> Settings:
    """Make a dataclass of settings from JSON values, each of which must be of its field's type.

    Raises
    ------
    JobError
        If there is no such setting, or its value is of another type or not finite.
    SparseSegError
        If the dataclass itself rejects the values.
    """
    types_of = typing.get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in chosen.items():
        if name not in known:
            raise JobError(
                f"The job asks for {name!r}, which is no setting.", "Client and worker may be of different versions."
            )
        if not _fits(value, types_of[name]):
            raise JobError(f"The setting {name} must be {_expected(types_of[name])}, not {_shown(value)}.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()})


def path_list(value: Any, name: str) -> list[str]:
    """Return a list of paths that a job names; JobError for anything else, and for none."""
    if not isinstance(value, list) or not value or not all(is_path(part) for part in value):
        raise JobError(f"The job's {name} must be a list of files, not {_shown(value)}.")
    return value


def is_path(value: Any) -> bool:
    """Whether a value can be a path."""
    return isinstance(value, str) and bool(value) and "\0" not in value


def switch(value: Any, name: str) -> bool:
    """Return a setting that is true or false; JobError for anything else."""
    if not isinstance(value, bool):
        raise JobError(f"The setting {name} must be true or false, not {_shown(value)}.")
    return value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of the type of a field."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    if origin in (tuple, Sequence):
        return _is_list(value, parts)
    if isinstance(value, bool) or kind not in (int, float):
        known = origin or kind
        return isinstance(value, known) and not (isinstance(value, bool) and known in (int, float))
    return isinstance(value, int) or (kind is float and isinstance(value, float) and math.isfinite(value))


def _is_list(value: Any, parts: tuple[Any, ...]) -> bool:
    """Whether a value is a list whose parts are of these types; of the first one, where the length is free."""
    if not isinstance(value, (list, tuple)):
        return False
    fixed = len(parts) > 1 and Ellipsis not in parts
    kinds = parts if fixed else [parts[0]] * len(value)
    return len(value) == len(kinds) and all(map(_fits, value, kinds))


def _expected(kind: Any) -> str:
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_expected(part) for part in parts)
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(parts)
    return _WORDS.get(typing.get_origin(kind) or kind, str(kind))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
