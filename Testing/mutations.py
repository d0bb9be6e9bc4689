"""Damaged files: mutations of good ones, and a child process that reads them and tells how each went."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
EXTREMES = (
    "-1",
    "0",
    "1",
    "100",
    "65536",
    "2147483647",
    "4294967296",
    "9" * 19,
    "1e308",
    "-1e-308",
    "nan",
    "inf",
    "%s%n",
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_WORD = re.compile(rb"[A-Za-z]{3,}")
_MOST_SECONDS = 30


@dataclass(frozen=True)
class Outcome:
    """How reading one file went: "read", "refused" (an error in words), or anything else, which is a fault."""

    path: Path
    how: str
    seconds: float
    megabytes: int


def mutate(data: bytes, rng: np.random.Generator, header: int = 600) -> bytes:
    """Return a file's content with one kind of damage: flipped bits, an end or a splice, an extreme number or word."""
    kind = rng.integers(7)
    changed = bytearray(data)
    start = changed[:header]
    if kind == 0:
        for _ in range(rng.integers(1, 20)):
            changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        for _ in range(rng.integers(1, 6)):
            changed[rng.integers(min(len(changed), header))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del changed[rng.integers(1, len(changed)) :]
    elif kind == 3:
        first, second, to = (int(n) for n in rng.integers(0, len(changed), 3))
        changed[to:to] = changed[min(first, second) : max(first, second)]
    elif kind == 4:
        found = list((_WORD if rng.integers(4) == 0 else _NUMBER).finditer(bytes(start)))
        if found:
            match = found[rng.integers(len(found))]
            word = str(rng.choice(EXTREMES)).encode() if rng.integers(4) else b"A" * int(rng.integers(1, 3000))
            changed[match.start() : match.end()] = word
    elif kind == 5:
        width = int(rng.choice((1, 2, 4, 8)))
        at = int(rng.integers(min(len(changed), header) - width))
        values = (b"\xff" * width, b"\x00" * width, b"\x7f" + b"\xff" * (width - 1), b"\xff" * (width - 1) + b"\x7f")
        changed[at : at + width] = values[rng.integers(4)]
    else:
        lines = bytes(start).split(b"\n")
        index = int(rng.integers(len(lines)))
        lines = (
            lines[:index] + lines[index + 1 :] if rng.integers(2) else [*lines[:index], lines[index], *lines[index:]]
        )
        changed[:header] = b"\n".join(lines)
    return bytes(changed)


_READER = """
import json, resource, sys, time, traceback
from SparseSegLib.errors import SparseSegError
from SparseSegLib.io import read_information, read_labels, read_volume
from SparseSegLib.volume import check_volume
reads = {"volume": read_volume, "labels": read_labels, "information": read_information}
for line in sys.stdin:
    path, what = json.loads(line)
    print(json.dumps(["begin", path]), flush=True)
    start = time.monotonic()
    try:
        reads[what](path)
        how = "read"
    except SparseSegError as error:
        how = "refused" if str(error) else "without words"
    except BaseException:
        how = traceback.format_exc()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 1 << 20)
    print(json.dumps([how, time.monotonic() - start, peak]), flush=True)
"""


def read_in_child(files: Sequence[tuple[Path, str]]) -> list[Outcome]:
    """Read files, each as "volume", "labels" or "information", in a process that may crash or hang on them."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(files):
        outcomes += _read_until_it_ends(files[len(outcomes) :])
    return outcomes


def _read_until_it_ends(files: Sequence[tuple[Path, str]]) -> list[Outcome]:
    lines = "".join(json.dumps([str(path), what]) + "\n" for path, what in files)
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _READER],
            input=lines,
            text=True,
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=_MOST_SECONDS + len(files),
        )
        output, ending = done.stdout, f"crash {done.returncode}: {done.stderr[-300:]}"
    except subprocess.TimeoutExpired as error:
        text = error.stdout or b""
        output, ending = (text if isinstance(text, str) else text.decode()), "hang"
    told = [json.loads(line) for line in output.splitlines() if line.endswith("]")]
    results = [one for one in told if one[0] != "begin"]
    outcomes = [Outcome(path, *one) for (path, _), one in zip(files, results, strict=False)]
    if len(outcomes) < len(files):
        outcomes.append(Outcome(files[len(outcomes)][0], ending, time.monotonic() - begun, 0))
    return outcomes
