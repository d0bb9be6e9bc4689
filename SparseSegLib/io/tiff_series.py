"""The choice of the image in a TIFF file, and checks that all of it is there."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.io.declared import LARGEST_RATIO, truncated

_MOST_NAMED = 6
_RATIOS = {1: 1, 5: 2800, 8: LARGEST_RATIO, 32773: 128, 32946: LARGEST_RATIO}  # by TIFF's numbers for compressions
_LARGEST_RATIO = 20_000
_SMALLEST_FACTOR = 1.9  # by which a thumbnail or a level of a pyramid is smaller than the image


def check_description(file: Any, path: Path) -> None:
    """Raise FileError if the XML in a file defines entities, which may be made to fill the memory."""
    description = file.pages[0].description if len(file.pages) else ""
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", description, re.IGNORECASE):
        raise FileError(f"The XML description of {path} defines entities, which none needs.", "Export it again.")


def choose_series(file: Any, path: Path) -> Any:
    """Return the one image of a file; thumbnails and the lower levels of a pyramid do not count.

    Raises
    ------
    FileError
        If the file has no image, or is one of several that make up an image.
    VolumeError
        If it has several, or more pages than its description lists.
    """
    if not file.series:
        raise FileError(f"The file {path} has no image.", "Export it again.")
    if file.is_ome and file.series[0].kind != "ome":
        raise FileError(
            f"The OME description of {path} tells of other files, or of pages that are not there.",
            "Save it as one file, for example in ImageJ.",
        )
    largest = max(file.series, key=lambda one: math.prod(one.shape))
    images = [one for one in file.series if one is largest or not _is_smaller_copy(one, largest)]
    if len(images) > 1:
        raise VolumeError(
            f"The file {path} has {len(images)} images: {_list(images)}.",
            "Save the one to be used as a file of its own, for example in ImageJ.",
        )
    if largest.kind == "imagej" and _planes(largest) < len(file.pages):
        raise VolumeError(
            f"The file {path} has {len(file.pages)} pages, but ImageJ's description tells of {_planes(largest)}.",
            "Save it again in ImageJ, with the right numbers in Image > Properties.",
        )
    return largest


def _is_smaller_copy(one: Any, largest: Any) -> bool:
    """Whether an image is a thumbnail of another, or a level of its pyramid: marked so, or of the same proportions."""
    size, whole = _axes(one), _axes(largest)
    if not {"Y", "X"} <= set(size) or not {"Y", "X"} <= set(whole):
        return False
    if bool(one.keyframe.is_reduced):
        return True
    factor = whole["X"] / size["X"]
    alike = abs(size["Y"] - whole["Y"] / factor) <= 1
    return factor >= _SMALLEST_FACTOR and alike and _planes(one) in (1, _planes(largest))


def _axes(series: Any) -> dict[str, int]:
    return dict(zip(series.axes, series.shape, strict=True))


def _planes(series: Any) -> int:
    return math.prod(size for axis, size in _axes(series).items() if axis not in "YXS")


def _list(images: list[Any]) -> str:
    sizes = [
        " × ".join(str(size) for size in reversed(one.shape)) + f" ({''.join(reversed(one.axes))})"
        for one in images[:_MOST_NAMED]
    ]
    return "; ".join(sizes) + ("; …" if len(images) > _MOST_NAMED else "")


def check_series(file: Any, series: Any, path: Path) -> None:
    """Raise FileError if an image declares more than the file can hold, or pages of it are missing."""
    page = series.keyframe
    size, declared = file.filehandle.size, math.prod(series.shape) * series.dtype.itemsize
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    if bits < 8:
        declared = declared * bits // 8
    ratio = _RATIOS.get(int(page.compression), _LARGEST_RATIO)
    if declared > ratio * size:
        raise truncated(path)
    if series.dataoffset is not None:
        if series.dataoffset + declared > size:
            raise truncated(path)
        return
    for one in series:
        if one is None:
            raise FileError(f"Pages of the image in {path} are missing.", "Export it again, as one file.")
        for offset, count in zip(one.dataoffsets, one.databytecounts, strict=True):
            if not offset > 0 or not count > 0 or offset + count > size:
                raise truncated(path)
