"""Stacks of 2D images: a folder or a list with one file for each slice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.image import Geometry
from SparseSegLib.io.files import read_file
from SparseSegLib.io.tiff import SUFFIXES as TIFF_SUFFIXES

SUFFIXES = (*TIFF_SUFFIXES, ".png", ".bmp", ".jpg", ".jpeg")


def slice_files(folder: PathLike) -> list[Path]:
    """Return the 2D images of a folder in natural order (2 before 10), those of its most frequent suffix."""
    files = [p for p in Path(folder).iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    suffixes = [p.suffix.lower() for p in files]
    kept = max(sorted(set(suffixes)), key=suffixes.count, default="")
    return sorted((p for p in files if p.suffix.lower() == kept), key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.findall(r"\d+|\D+", path.stem)
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts], path.name


def read_slices(files: Sequence[PathLike], dtype: Any = None) -> tuple[np.ndarray, Geometry]:
    """Return 2D images, in the order given, as one (C, Z, Y, X) stack and its geometry.

    Slices are as far apart as pixels, since 2D images do not say.

    Raises
    ------
    FileError
        If a file is missing or damaged, or is not of the first one's size.
    VolumeError
        If an image is in color or not 2D.
    """
    if len(files) < 2:
        raise VolumeError(f"There is only one slice: {files[0]}.", "A volume needs several.")
    first, geometry = read_file(files[0], dtype)
    _check_2d(first, files[0])
    stack = np.empty((first.shape[0], len(files), *first.shape[2:]), first.dtype)
    stack[:, 0] = first[:, 0]
    for index, file in enumerate(files[1:], start=1):
        image, _ = read_file(file, dtype)
        _check_2d(image, file)
        if image.shape != first.shape or image.dtype != first.dtype:
            raise FileError(
                f"The slices {files[0]} and {file} differ in size or type.",
                "Move the images that do not belong to the stack out of the folder.",
            )
        stack[:, index] = image[:, 0]
    _, y, x = geometry.spacing
    return stack, Geometry.identity(stack.shape[1:], (x, y, x))


def _check_2d(image: np.ndarray, file: PathLike) -> None:
    if image.shape[1] != 1:
        raise VolumeError(
            f"The image {file} is a volume, not a slice of one.", "Choose the file itself, not the folder or a list."
        )
