"""JSON files that anybody may have written, read with care. Standard library only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from SparseSegLib.errors import FileError

MOST_BYTES = 64 * 2**20


def read_json(path: str | os.PathLike[str], hint: str = "") -> Any:
    """The value that a file holds; finite numbers only.

    Raises
    ------
    FileError
        If there is no such file, or it is no JSON, too large, or nested too deeply.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise FileError(f"There is no file {path}.", "Check the path.")
        if not path.is_file():
            raise FileError(f"{path} is not a file.", hint)
        if path.stat().st_size > MOST_BYTES:
            raise FileError(f"{path} is larger than {MOST_BYTES >> 20} MiB.", hint)
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise FileError(f"{path} cannot be read: it is nested too deeply.", hint) from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}.", hint) from error


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no number that a file may have")
