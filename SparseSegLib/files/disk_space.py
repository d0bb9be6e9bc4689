"""Whether a disk has room for a result, before the work that makes it."""

from __future__ import annotations

import shutil
from pathlib import Path

from SparseSegLib.errors import ResourceError
from SparseSegLib.files.atomic import PathLike
from SparseSegLib.units import data_text


def check_disk_space(path: PathLike, size: int) -> None:
    """Raise ResourceError if fewer than ``size`` bytes are free where the file ``path`` is to be written."""
    folder = Path(path).absolute().parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < size:
        raise ResourceError(
            f"The disk of {folder} has too little room: {path} may need {data_text(size)}, and {data_text(free)} are "
            "free.",
            "Make room, or choose another disk.",
        )
