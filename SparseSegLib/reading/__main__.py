"""The process that reads: ``python -m SparseSegLib.reading``.

A line of JSON on standard input is a request, a line on standard output its answer; after the answer to ``read`` come
the voxels, float32 in the order of memory. It ends when standard input closes.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from SparseSegLib.errors import FileError, ResourceError, SparseSegError
from SparseSegLib.lifeline import end_with_parent

Answer = tuple[dict[str, Any], Any]
"""An answer, and an array or None."""


def main() -> None:
    """Answer requests until the other side is gone."""
    end_with_parent()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # whatever else prints goes to the log
    from SparseSegLib.io import read_volume  # noqa: F401 - takes a moment, and is timed apart

    with suppress(OSError):
        _send(answers, {"ready": True})
        for line in requests:
            _send(answers, *_answer(json.loads(line)))


def _answer(request: dict[str, Any]) -> Answer:
    try:
        return _ACTIONS[request["do"]](**request["with"])
    except SparseSegError as error:
        return _failed(error), None
    except MemoryError:
        return _failed(
            ResourceError(f"There is not enough memory to read {_named(request)}.", "Close other programs.")
        ), None
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc(file=sys.stderr)
        reason = f"{type(error).__name__}: {error}"
        return _failed(FileError(f"{_named(request)} cannot be read: {reason}", "Check that it is whole.")), None


def _named(request: dict[str, Any]) -> str:
    return str(request["with"]["paths"][0])


def _failed(error: SparseSegError) -> dict[str, Any]:
    return {"error": error.message, "hint": error.hint, "code": error.code}


def _read(paths: list[str], series: list[str]) -> Answer:
    import numpy as np

    from SparseSegLib.io import read_volume

    chosen: dict[str, Any] = {"series_uid": series if len(series) > 1 else series[0]} if any(series) else {}
    volume = read_volume(paths[0] if len(paths) == 1 else paths, **chosen)
    array = np.ascontiguousarray(volume.array, np.float32)
    grid = volume.geometry
    return {
        "size": array.shape,
        "spacing": grid.spacing,
        "origin": grid.origin,
        "direction": grid.direction,
        "name": volume.name,
    }, array


def _check_scans(paths: list[str], series: list[str], modality: str) -> Answer:
    from itertools import zip_longest
    from pathlib import Path

    from SparseSegLib.io.dicom import find_series
    from SparseSegLib.io.dicom.checks import check_series

    for path, uid in zip_longest(paths, series, fillvalue=""):
        if Path(path).is_dir() and find_series(path):
            check_series(path, modality, series_uid=uid)
    return {}, None


_ACTIONS: dict[str, Callable[..., Answer]] = {"read": _read, "check_scans": _check_scans}


def _send(answers: Any, answer: dict[str, Any], array: Any = None) -> None:
    answers.write(json.dumps(answer).encode("ascii") + b"\n")
    if array is not None:
        answers.write(memoryview(array).cast("B"))
    answers.flush()


if __name__ == "__main__":
    main()
