"""Types of arguments: numbers within limits, and series of DICOM folders."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from SparseSegLib.errors import FileError

LARGEST_SEED = 2**32 - 1
LARGEST_COUNT = 10**9


def whole(least: int, most: int = LARGEST_COUNT) -> Callable[[str], int]:
    """A type for arguments: a whole number from ``least`` to ``most``."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text} is no whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least} to {most}")
        return value

    return number


def positive(text: str) -> float:
    """A type for arguments: a number above 0."""
    return _finite(text, above_zero=True)


def not_negative(text: str) -> float:
    """A type for arguments: a number of 0 or more."""
    return _finite(text, above_zero=False)


def times(text: str) -> float:
    """A type for arguments: how many times as long, 1 or more."""
    value = positive(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def box(text: str) -> tuple[int, ...]:
    """A type for arguments: voxels ``X:X,Y:Y,Z:Z``, the first one and the one after the last, as (z, z, y, y, x, x)."""
    match = re.fullmatch(r"(\d+):(\d+),(\d+):(\d+),(\d+):(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is not of the form X:X,Y:Y,Z:Z")
    x, x_end, y, y_end, z, z_end = map(int, match.groups())
    return z, z_end, y, y_end, x, x_end


def _finite(text: str, *, above_zero: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number") from None
    if not math.isfinite(value) or value < 0 or (above_zero and value == 0):
        raise argparse.ArgumentTypeError(f"{text} is no number {'above 0' if above_zero else 'of 0 or more'}")
    return value


def add_series(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare ``--series``."""
    parser.add_argument(
        "--series",
        action="append",
        default=[],
        metavar="UID",
        help="which series of a DICOM folder that has several (sparseseg info FOLDER lists them); may be repeated",
    )


def chosen_series(volumes: Sequence[Sequence[str | Path]], uids: Sequence[str]) -> list[list[str]]:
    """Return for each file or folder of each case the UID of the series to read, "" where there is nothing to choose.

    A folder that is given twice in a case, as two channels, gets its series in the order of the UIDs.

    Raises
    ------
    FileError
        If a UID is in none of the folders.
    """
    if not uids:
        return [[""] * len(case) for case in volumes]
    from SparseSegLib.io.dicom import find_series

    wanted, lost, listed = list(dict.fromkeys(uids)), set(uids), []
    chosen = []
    for case in volumes:
        rest, row = list(wanted), []
        for path in case:
            found = {one.uid: one for one in find_series(path)} if Path(path).is_dir() else {}
            uid = next((one for one in rest if one in found), "")
            if uid:
                rest.remove(uid)
            lost.discard(uid)
            listed += [f"{one.uid} ({one.modality} {one.description})".replace(" )", ")") for one in found.values()]
            row.append(uid)
        chosen.append(row)
    if lost:
        known = "; ".join(dict.fromkeys(listed)) or "none of what was given is a DICOM folder"
        raise FileError(f"There is no series {sorted(lost)[0]} in what was given.", f"Series: {known}.")
    return chosen


def one_series(path: Path, uids: Sequence[str]) -> str:
    """Return the UID of the series to read of one file or folder; raises as `chosen_series`."""
    return chosen_series([[path]], uids)[0][0]


def add_card_texts(group: argparse._ArgumentGroup) -> None:
    """Declare what a person may write on a model's card, but for its name."""
    group.add_argument("--summary", help="a sentence on what it does")
    group.add_argument("--intended-use", help="a sentence on what it is for")
    group.add_argument("--data", help="what it was trained on")
    group.add_argument("--license", help="under which license it may be used")
    group.add_argument("--modality", help="CT, MR, PT or US: the only DICOM scans that it will segment (default: any)")
