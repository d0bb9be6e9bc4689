"""TIFF stacks: ImageJ, OME and plain, one file or several pages, with channels."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import DependencyError, FileError, GeometryError, SparseSegError, VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.image import Geometry
from SparseSegLib.io.declared import check_memory, no_memory, truncated
from SparseSegLib.io.headers import color_image, time_series
from SparseSegLib.io.itk import check_readable, impossible_grid, reading
from SparseSegLib.io.length_units import millimeters
from SparseSegLib.io.raw_parts import RawParts
from SparseSegLib.io.tiff_series import check_description, check_series, choose_series

SUFFIXES = (".tif", ".tiff")

Spacing = tuple[float, float, float]


class _Damage(logging.Handler):
    """Remembers whether tifffile has complained: it returns fewer pages than the file had, and only logs that."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen = False

    def emit(self, record: logging.LogRecord) -> None:
        self.seen = True


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a TIFF file with tifffile; raises FileError for a damaged one."""
    tifffile = import_tifffile()
    check_readable(path)
    damage, log = _Damage(), logging.getLogger("tifffile")
    propagate, log.propagate = log.propagate, False
    log.addHandler(damage)
    try:
        with tifffile.TiffFile(path, _multifile=False) as file:
            check_description(file, path)
            yield file
        if damage.seen:
            raise truncated(path)
    except SparseSegError:
        raise
    except MemoryError as error:
        raise no_memory(path) from error
    except tifffile.TiffFileError as error:
        raise FileError(f"The file {path} is no TIFF file, or it is damaged.", "Export it again.") from error
    except Exception as error:  # whatever tifffile and the decoders under it meet in a damaged file
        raise truncated(path) from error
    finally:
        log.removeHandler(damage)
        log.propagate = propagate


def import_tifffile() -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise DependencyError("Reading TIFF stacks needs the package tifffile.", "Install scikit-image.") from error
    return tifffile


def tiff_layout(path: PathLike) -> tuple[tuple[int, int, int, int], Spacing, np.dtype]:
    """Return shape (C, Z, Y, X), spacing (z, y, x) mm and voxel type of a TIFF stack without reading its voxels."""
    path = Path(path)
    with _open(path) as file:
        series = choose_series(file, path)
        layout, spacing = _layout(series, path), _spacing(file)
        check_series(file, series, path)
    return layout.shape, _grid(path, layout, spacing).spacing, series.dtype


def read_tiff(path: PathLike, dtype: Any = None) -> tuple[np.ndarray, Geometry]:
    """Return a TIFF stack as (C, Z, Y, X) and its geometry; a single page gives Z = 1.

    The spacing is ImageJ's or OME's, in mm, and 1 mm where the file has none: TIFF's own resolution is that of
    printers. TIFF has no position and no orientation. A stack of time points and no depth is taken for depth.

    Raises
    ------
    FileError
        If the file is missing, foreign or truncated.
    VolumeError
        If it is an RGB image or a time series of volumes.
    """
    path = Path(path)
    with _open(path) as file:
        series = choose_series(file, path)
        layout, spacing = _layout(series, path), _spacing(file)
        check_series(file, series, path)
        check_memory(path, series.nbytes)
        array = layout.apply(_pixels(series, path))
    array = np.ascontiguousarray(array, dtype=dtype or array.dtype.newbyteorder("="))
    return array, _grid(path, layout, spacing)


def open_raw_tiff(path: PathLike) -> RawParts | None:
    """Return a TIFF stack for reading in parts, or None if it is compressed, tiled, or stored in another order."""
    path = Path(path)
    with _open(path) as file:
        series = choose_series(file, path)
        layout, spacing = _layout(series, path), _spacing(file)
        check_series(file, series, path)
        pages = list(series.pages)
        if not series.keyframe.is_memmappable or not layout.has_whole_slices:
            return None
        if series.dataoffset is not None:
            size = math.prod(layout.shape[2:]) * series.dtype.itemsize
            starts = [series.dataoffset + number * size for number in range(layout.slices)]
        elif len(pages) == layout.slices and all(map(_is_in_one_piece, pages)):
            starts = [page.dataoffsets[0] for page in pages]
        else:
            return None
        stored = series.dtype.newbyteorder(file.byteorder)
    return RawParts(path, stored, layout.arranged(starts), _grid(path, layout, spacing))


def _is_in_one_piece(page: Any) -> bool:
    """Return whether the strips of a page follow each other in the file."""
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    return list(page.dataoffsets[1:]) == ends[:-1]


def _grid(path: Path, layout: _Layout, spacing: Spacing) -> Geometry:
    try:
        return Geometry.identity(layout.shape[1:], spacing)
    except GeometryError as error:
        raise impossible_grid(path, error) from error


def _pixels(series: Any, path: Path) -> np.ndarray:
    """Decode the voxels; compressions that tifffile lacks without more packages go through SimpleITK's libtiff."""
    try:
        return series.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error) or "S" in series.axes:
            raise
    with reading(path):
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    if array.size != series.size:
        raise FileError(
            f"The compression of {path} is not known, and it has more than one image.", "Save it uncompressed."
        )
    return array.reshape(series.shape)


@dataclass(frozen=True)
class _Layout:
    """The map from tifffile's axes to (C, Z, Y, X)."""

    present: tuple[int, ...]  # the sizes of the axes that are longer than 1, in the file's order
    order: tuple[int, ...]  # how to transpose them
    shape: tuple[int, int, int, int]  # (C, Z, Y, X)

    def apply(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(self.present).transpose(self.order).reshape(self.shape)

    @property
    def slices(self) -> int:
        """Slices of all channels."""
        return self.shape[0] * self.shape[1]

    @property
    def has_whole_slices(self) -> bool:
        """Whether each slice lies in the file by itself, row after row."""
        return self.order[-2:] == (len(self.order) - 2, len(self.order) - 1)

    def arranged(self, starts: Sequence[int]) -> np.ndarray:
        """The places of the slices in the file's order as (C, Z)."""
        places = np.array(starts, np.int64).reshape(self.present[:-2])
        return places.transpose(self.order[:-2]).reshape(self.shape[:2])


def _layout(series: Any, path: Path) -> _Layout:
    """Find channels and depth among the axes; raises VolumeError for RGB, time series and other axes."""
    size = dict(zip(series.axes, series.shape, strict=True))
    if size.get("S", 1) in (3, 4):
        raise color_image(path)
    present = [axis for axis in series.axes if axis in "YX" or size[axis] > 1]
    channel = [axis for axis in present if axis in "CS"]
    depth = [axis for axis in present if axis not in "CSYX"]
    if len(depth) > 1:
        raise time_series(path)
    if len(channel) > 1 or not {"Y", "X"} <= set(present):
        raise VolumeError(f"The image {path} has axes {series.axes}, not those of a volume.", "Save it as ZYX.")
    order = tuple(present.index(axis) for axis in (*channel, *depth, "Y", "X"))
    shape = (size[channel[0]] if channel else 1, size[depth[0]] if depth else 1, size["Y"], size["X"])
    return _Layout(tuple(size[axis] for axis in present), order, shape)


def _spacing(file: Any) -> Spacing:
    if file.ome_metadata:
        return _ome_spacing(file.ome_metadata)
    if file.imagej_metadata:
        return _imagej_spacing(file)
    return (1.0, 1.0, 1.0)


def _ome_spacing(xml: str) -> Spacing:
    try:
        pixels = next((e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("Pixels")), None)
    except ElementTree.ParseError:  # tifffile has read the image without it
        pixels = None
    attributes = pixels.attrib if pixels is not None else {}

    def size(axis: str) -> float:
        value = float(attributes.get(f"PhysicalSize{axis}", 0))
        return max(0.0, value) * millimeters(attributes.get(f"PhysicalSize{axis}Unit", "µm"))

    return _complete(size("Z"), size("Y"), size("X"))


def _imagej_spacing(file: Any) -> Spacing:
    """ImageJ keeps the distance of slices in its own text and that of pixels in TIFF's resolution, one unit for all."""
    metadata, tags = file.imagej_metadata, file.pages[0].tags
    unit = millimeters(str(metadata.get("unit", "mm")))

    def pixel(tag: str) -> float:
        numerator, denominator = tags[tag].value if tag in tags else (0, 1)
        return unit * denominator / numerator if numerator else 0.0

    z = abs(float(metadata.get("spacing", 0))) * unit
    return _complete(z, pixel("YResolution"), pixel("XResolution"))


def _complete(z: float, y: float, x: float) -> Spacing:
    """Fill in what the file does not say: pixels are square, slices are as far apart as pixels."""
    x = x or y or z or 1.0
    y = y or x
    return (z or x, y, x)
