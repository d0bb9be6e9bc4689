"""Reads files as SparseSeg's commands do, each in a process of its own: ``python mutation_server.py``.

On standard input comes a line of JSON a case, ``{"check": NAME, "path": …}``; on standard output goes a line with
``outcome``: "read", "refused", or what went wrong; ``seconds``, ``megabytes`` and ``said``. Each case is a fork of a
process that has imported everything and done nothing, so that a crash, a hang or a greedy reader is seen from outside.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.annotation import read_sparse_labels
from SparseSegLib.cli import main
from SparseSegLib.cohort.decathlon import read_description
from SparseSegLib.errors import InternalError, SparseSegError
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_labels, read_volume, write_image, write_labels

SECONDS = 30
REFERENCE = Geometry((12, 14, 16), (2.0, 1.0, 1.0))
"""The grid of the volume that labels and planes belong to."""


def check_volume(path: Path) -> None:
    """What ``info`` says of a volume is what is read, and what is written of it comes back the same."""
    volume = read_volume(path)
    said = json.loads(_command("info", str(path)))[0]
    assert said["size"] == list(volume.geometry.shape[::-1]), "info and the reader differ in size"
    assert np.allclose(said["spacing_mm"], volume.geometry.spacing[::-1], rtol=1e-3), "info and the reader differ"
    copy = path.parent / f"copy-{os.getpid()}.nrrd"
    try:
        write_image(volume.array, volume.geometry, copy)
        again = read_volume(copy)
    finally:
        copy.unlink(missing_ok=True)
    assert again.geometry.matches(volume.geometry), "the geometry does not survive writing"
    assert np.array_equal(again.array, volume.array, equal_nan=True), "the voxels do not survive writing"


def check_labels(path: Path) -> None:
    """Labels are read, planes are found, and what is written of the labels comes back the same."""
    array, geometry, segments = read_labels(path)
    copy = path.parent / f"copy-{os.getpid()}.seg.nrrd"
    try:
        write_labels(array, geometry, copy, segments)
        again = read_labels(copy)
    finally:
        copy.unlink(missing_ok=True)
    assert np.array_equal(again[0], array), "the labels do not survive writing"
    assert again[1].matches(geometry), "the geometry does not survive writing"
    assert [one.name for one in again[2]] == [one.name for one in segments], "the names do not survive writing"
    _command("planes", str(path))
    labels = read_sparse_labels(path, REFERENCE)
    assert labels.geometry.matches(REFERENCE), "the labels lie on another grid than the volume"
    labels.validate()


def check_structures(path: Path) -> None:
    """Outlines become labels on the grid of their scan."""
    array, geometry, _ = read_labels(path, REFERENCE)
    assert geometry.matches(REFERENCE), "the structures lie on another grid than the scan"
    assert array.shape == REFERENCE.shape, "the structures lie on another grid than the scan"


def check_planes(path: Path) -> None:
    """Labels are read with a list of planes beside them."""
    labels = read_sparse_labels(path.with_name(path.name.removesuffix(".planes.json")), REFERENCE)
    assert labels.geometry.matches(REFERENCE), "the labels lie on another grid than the volume"
    labels.validate()


def check_dataset(path: Path) -> None:
    """A description of a data set names files, and the first case is read."""
    files = read_description(path).files(dense=True)
    files[0].read()


def _command(*arguments: str) -> str:
    """Run a command; its standard output. What it refuses is raised."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main([*arguments, "--json"])
    if status == InternalError.exit_code:
        raise RuntimeError(out.getvalue()[:2000])
    if status:
        raise SparseSegError(f"{arguments[0]} ended with {status}: {out.getvalue()[:300]}")
    return out.getvalue()


CHECKS = {
    "volume": check_volume,
    "labels": check_labels,
    "structures": check_structures,
    "planes": check_planes,
    "dataset": check_dataset,
}


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Run one check in a fork; how it ended, how long it took, and how much memory it took more than before."""
    receiving, sending = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        with os.fdopen(sending, "w", encoding="utf-8", errors="backslashreplace") as answer:
            json.dump(_outcome(case), answer)
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, encoding="utf-8") as answer:
        hung = not select.select([answer], [], [], SECONDS)[0]
        if hung:
            os.kill(child, signal.SIGKILL)
        said = answer.read()
    _, status, usage = os.wait4(child, 0)
    base = {"outcome": "hung", "said": ""} if hung else {"outcome": f"killed by signal {status & 127}", "said": ""}
    found = json.loads(said) if said else base
    return {**found, "seconds": round(time.monotonic() - start, 2), "megabytes": usage.ru_maxrss // 1024}


def _outcome(case: dict[str, Any]) -> dict[str, Any]:
    try:
        CHECKS[case["check"]](Path(case["path"]))
    except SparseSegError as error:
        return {"outcome": "refused", "said": str(error)}
    except BaseException as error:
        return {"outcome": f"{type(error).__name__}: {error}"[:500], "said": traceback.format_exc()[-3000:]}
    return {"outcome": "read", "said": ""}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run_case(json.loads(line))), flush=True)
