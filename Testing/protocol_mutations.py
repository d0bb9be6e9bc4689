"""Damaged lines, job files and checkpoints: mutations of good ones, another seed in every run."""

from __future__ import annotations

import copy
import os
import secrets
from typing import Any

import numpy as np

EXTREMES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, -1e-308, "", "-1", "../x", "/dev/zero", "a\0b", "\udcff",
    "A" * 5000, "%s%n", [], {}, [[[[]]]], ["../x"], {"": None},
)  # fmt: skip
"""What is put in the place of a JSON value."""


def new_generator() -> np.random.Generator:
    """A generator with a new seed, or that of the environment variable MUTATION_SEED; the seed is printed."""
    seed = int(os.environ.get("MUTATION_SEED", secrets.randbits(32)))
    print(f"MUTATION_SEED={seed}")
    return np.random.default_rng(seed)


def mutated_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Content with flipped bits, cut off, with a part doubled, left out or overwritten, or deeply nested."""
    changed = bytearray(data)
    first, second, to = sorted(int(place) for place in rng.integers(0, len(changed), 3))
    kind = rng.integers(6)
    if kind == 0:
        for place in rng.integers(0, len(changed), rng.integers(1, 20)):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del changed[first:]
    elif kind == 2:
        changed[to:to] = changed[first:second]
    elif kind == 3:
        del changed[first:second]
    elif kind == 4:
        changed[first:second] = rng.bytes(second - first)
    else:
        changed[first:first] = bytes(rng.choice([b"[", b"{", b'"', b"9", b'{"a":'])) * int(rng.integers(1, 50_000))
    return bytes(changed)


def mutated_json(value: Any, rng: np.random.Generator) -> Any:
    """A copy of a JSON value in which one value, at any depth, is another one, or one key is gone or unknown."""
    value = copy.deepcopy(value)
    holders: list[tuple[Any, Any]] = []
    _collect(value, holders)
    holder, key = holders[rng.integers(len(holders))]
    kind = rng.integers(6)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder["unknown"] = holder.pop(key)
    else:
        holder[key] = EXTREMES[rng.integers(len(EXTREMES))]
    return value


def _collect(value: Any, holders: list[tuple[Any, Any]]) -> None:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        holders.append((value, key))
        _collect(value[key], holders)
