"""``sparseseg clean``: removes what crashes and errors left on the disk."""

from __future__ import annotations

import argparse
import sys

from SparseSegLib.cli.console import Console
from SparseSegLib.jobs.remains import Remains, find_remains, remove_remains

NAME = "clean"
SUMMARY = "remove what crashes and errors left on the disk"
DESCRIPTION = """\
Shows what was left in the folder for temporary files, by commands and by 3D Slicer, and the logs of errors; asks, and
removes it. Images and labels may be in such folders, and paths of files in the logs.

What a running job uses stays, and so do your models, the folders that you gave with --job, and all results.

  sparseseg clean              shows, and asks
  sparseseg clean --yes        does not ask"""

WORDS = {"job": "job", "log": "log of an error", "note": "note of a file that was being read"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--yes", action="store_true", help="remove without asking")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Show, ask and remove."""
    found = find_remains()
    old = [one for one in found if not one.in_use]
    if not arguments.json:
        for one in found:
            console.message(_line(one))
    removes = bool(old) and (arguments.yes or (not arguments.json and _agrees(old)))
    left = remove_remains(old) if removes else old
    removed = [one for one in old if one not in left] if removes else []
    values = {
        "removed": [str(one.path) for one in removed],
        "left": [str(one.path) for one in left],
        "in_use": [str(one.path) for one in found if one.in_use],
    }
    console.result(values, _summary(removed, left, removes=removes))


def _agrees(old: list[Remains]) -> bool:
    """Whether the user wants them removed; nobody does where there is no terminal to ask on."""
    if not sys.stdin.isatty():
        return False
    return input(f"Remove {len(old)} of them, {_megabytes(old)}? [y/N] ").strip().lower() in ("y", "yes")


def _line(one: Remains) -> str:
    used = ", in use: it stays" if one.in_use else ""
    return f"{one.path}  {WORDS[one.kind]}, {_megabytes([one])}{used}"


def _summary(removed: list[Remains], left: list[Remains], *, removes: bool) -> str:
    if not removed and not left:
        return "nothing to remove"
    if not removes:
        return f"nothing was removed: {len(left)} could be, {_megabytes(left)}; --yes does it"
    rest = f"; {len(left)} could not be removed" if left else ""
    return f"removed {len(removed)}, {_megabytes(removed)}{rest}"


def _megabytes(remains: list[Remains]) -> str:
    return f"{sum(one.size for one in remains) / 1e6:.1f} MB"
