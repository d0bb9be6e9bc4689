"""Damaged copies of good files: flipped bits, truncation, splices, and extreme values in headers."""

from __future__ import annotations

import gzip
import os
import random
import re
from collections.abc import Callable

HEAD = 1024  # bytes in which most formats keep their header
EXTREME = (
    b"0", b"-1", b"1e308", b"-1e308", b"nan", b"inf", b"2147483648", b"9223372036854775807", b"400000000", b"",
    b"%s%n", b"../../x", b"/dev/zero", b"\xff\xfe", b"\x1b[31m", b"A" * 1100, b"[" * 5000, b"1" * 400,
)  # fmt: skip
WORDS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)

Mutation = Callable[[bytes, random.Random], bytes]


def new_seed() -> int:
    """The seed of a run: a new one each time, or that of the variable SPARSESEG_SEED, to repeat a run."""
    return int(os.environ.get("SPARSESEG_SEED") or int.from_bytes(os.urandom(4), "little"))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return damaged data: one to three mutations, inside of gzip where the data is compressed."""
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.7:
        return gzip.compress(mutate(gzip.decompress(data), rng), 1)
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    """Return an index, mostly in the header."""
    return rng.randrange(max(1, min(len(data), HEAD) if rng.random() < 0.8 else len(data)))


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 4, 32))):
        changed[_place(changed, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _splice(data: bytes, rng: random.Random) -> bytes:
    start, length, target = _place(data, rng), rng.choice((1, 4, 64, 1024)), _place(data, rng)
    piece = data[start : start + length]
    kept = target + (len(piece) if rng.random() < 0.5 else 0)  # over what was there, or between
    return data[:target] + piece + data[kept:]


def _cut_out(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + rng.choice((1, 2, 4, 100)) :]


def _number(data: bytes, rng: random.Random) -> bytes:
    """Write an extreme number into the header, in either byte order."""
    size = rng.choice((1, 2, 4, 8))
    start = _place(data, rng) // size * size
    value = (rng.choice(WORDS) % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
    return data[:start] + value + data[start + size :]


def _text_field(data: bytes, rng: random.Random) -> bytes:
    """Put an extreme text in the place of a number or word of the header."""
    fields = list(re.finditer(rb"[-+.\w]+", data[: 4 * HEAD]))
    if not fields:
        return data
    start, stop = rng.choice(fields).span()
    return data[:start] + rng.choice(EXTREME) + data[stop:]


def _line(data: bytes, rng: random.Random) -> bytes:
    """Double a line of the header, or take it out."""
    lines = data[: 4 * HEAD].split(b"\n")
    chosen = rng.randrange(len(lines))
    lines[chosen : chosen + 1] = rng.choice(([], [lines[chosen]] * 2))
    return b"\n".join(lines) + data[4 * HEAD :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _truncate, _splice, _cut_out, _number, _text_field, _line)
