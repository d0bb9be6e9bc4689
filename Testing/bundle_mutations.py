"""Bundles that are broken at random: bits, ends, pieces of others, and values that no card has."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

EXTREME: list[Any] = [
    None, True, False, 0, -1, 1, 2, 255, 1024, 2**31, 2**63, 10**30, 10**400, -(10**400), 0.5, 1e-300, 1e300,
    float("nan"), float("inf"), float("-inf"), "", " ", "a" * 5000, "\x1b[2J", "\ud800", "\u202e", "../../x", "\0",
    "日本", [], {}, [[]], [None] * 5, [1] * 5000, ["1+2", "1"], ["9" * 4000], {"a": {"b": {}}}, "nested", "unet3d",
    "segresnet_vae", "resunet_se", "unet3d-half", "vnet", [1024, 1024, 1024, 1024],
]  # fmt: skip
WEIGHTS = ("weights.safetensors", "weights.pt")


def mutate(bundle: dict[str, bytes], other: dict[str, bytes], rng: random.Random, path: Path) -> None:
    """Write a broken bundle: a folder, or a zip if ``path`` ends so.

    Parameters
    ----------
    bundle, other : content of the files by name, of the bundle to break and of another one
    rng : source of random numbers
    path : where
    """
    files = dict(bundle)
    kind = rng.choice(("card", "card", "weights", "weights", "raw"))
    weights = next(name for name in files if name in WEIGHTS)
    if kind == "card":
        files["model.json"] = _broken_card(files["model.json"], rng)
    elif kind == "weights":
        pieces = other[rng.choice(sorted(other))]
        header = weights == "weights.safetensors" and rng.random() < 0.5
        files[weights] = _broken_header(files[weights], rng) if header else _broken(files[weights], pieces, rng)
        if rng.random() < 0.8:
            files["model.json"] = _with_hash(files["model.json"], files[weights])
    if path.suffix != ".zip":
        if kind == "raw":
            name = rng.choice(sorted(files))
            files[name] = _broken(files[name], other[rng.choice(sorted(other))], rng)
        path.mkdir()
        for name, content in files.items():
            (path / name).write_bytes(content)
        return
    content = _zipped(files, rng)
    path.write_bytes(_broken(content, _zipped(other, rng), rng) if kind == "raw" else content)


def _zipped(files: dict[str, bytes], rng: random.Random) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, part in files.items():
            archive.writestr(name, part)
    return content.getvalue()


def _broken(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Bits turned over, cut off, or a piece of something else in it; half of the times near the start or the end."""
    found = bytearray(content)
    if not found:
        return b"\0"
    edge = rng.random() < 0.5

    def place() -> int:
        if not edge:
            return rng.randrange(len(found))
        near = rng.randrange(min(400, len(found)))
        return near if rng.random() < 0.5 else len(found) - 1 - near

    kind = rng.choice(("bits", "bytes", "cut", "splice", "insert"))
    if kind == "bits":
        for _ in range(rng.choice((1, 1, 3, 20))):
            found[place()] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        start = place()
        found[start : start + rng.choice((1, 2, 4, 8))] = rng.choice((b"\0", b"\xff", b"\x7f")) * rng.choice((1, 4, 8))
    elif kind == "cut":
        del found[place() :]
    else:
        start, origin = place(), rng.randrange(len(other))
        piece = other[origin : origin + rng.choice((1, 16, 300, 5000))]
        found[start : start + (len(piece) if kind == "splice" else 0)] = piece
    return bytes(found)


def _broken_card(content: bytes, rng: random.Random) -> bytes:
    card = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _break(card, rng)
    text = json.dumps(card)
    if rng.random() < 0.1:
        depth = rng.choice((100, 100_000))
        text = text[:-1] + ', "more": ' + "[" * depth + "]" * depth + "}"
    return text.encode("utf-8", "surrogatepass")


def _break(values: Any, rng: random.Random) -> None:
    """Put an extreme value somewhere, take something away, or add something."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = rng.choice(keys)
        inner = values[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            values = inner
            continue
        if rng.random() < 0.1:
            del values[key]
        elif isinstance(values, dict) and rng.random() < 0.1:
            values[rng.choice(("more", "\x1b", "base", "levels", "widths", "blocks", "regions"))] = rng.choice(EXTREME)
        else:
            values[key] = rng.choice(EXTREME)
        return


def _broken_header(content: bytes, rng: random.Random) -> bytes:
    """The header of a safetensors file with an extreme value."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    _break(header, rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _with_hash(card: bytes, weights: bytes) -> bytes:
    content = json.loads(card)
    content["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    return json.dumps(content).encode()
