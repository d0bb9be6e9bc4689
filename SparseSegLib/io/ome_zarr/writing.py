"""OME-Zarr images, written slab by slab with their coarser resolutions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np

from SparseSegLib.errors import DependencyError, FileError
from SparseSegLib.files.replacing import atomic_folder
from SparseSegLib.files.zarr_folder import is_zarr
from SparseSegLib.image import Geometry
from SparseSegLib.io.arrays import written_type
from SparseSegLib.io.ome_zarr.description import LABEL_IMAGE
from SparseSegLib.io.ome_zarr.reading import import_zarr, newest_format
from SparseSegLib.io.segmentation import SegmentInfo
from SparseSegLib.units import length_unit

Version = Literal["0.4", "0.5"]
Steps = tuple[int, int, int]

CHUNK = (64, 128, 128)
"""(z, y, x) voxels that are compressed, and read, at once."""
_FORMATS: dict[str, int] = {"0.4": 2, "0.5": 3}
_UNIT_NAMES = {"mm": "millimeter", "µm": "micrometer", "nm": "nanometer"}
_DIGITS = 12


def check_replaceable(path: Path) -> None:
    """Raise FileError if something else than Zarr is where an image is to be written."""
    if os.path.lexists(path) and not is_zarr(path):
        raise FileError(f"Cannot write {path}: something else than OME-Zarr is there.", "Choose another name.")


def write_zarr(
    path: Path, array: np.ndarray, geometry: Geometry, segments: Sequence[SegmentInfo] | None = None
) -> None:
    """Write (Z, Y, X) or (C, Z, Y, X) as an OME-Zarr image, whole or not at all; of labels also their segments."""
    check_replaceable(path)
    array = array if array.ndim == 4 else array[None]
    with atomic_folder(path) as folder:
        writer = ZarrWriter(folder, geometry, array.dtype, channels=len(array), segments=segments)
        writer.write(array)
        writer.finish()


@dataclass
class _Level:
    """One resolution: takes slabs (C, Z, Y, X), writes whole chunks, and hands on every second voxel."""

    array: Any
    steps: Steps
    coarser: _Level | None
    waiting: list[np.ndarray] = field(default_factory=list)
    written: int = 0

    def take(self, slab: np.ndarray) -> None:
        """Take the next slices."""
        self.waiting.append(slab)
        depth = sum(part.shape[1] for part in self.waiting)
        whole = depth - depth % CHUNK[0]
        if whole:
            slab = np.concatenate(self.waiting, axis=1) if len(self.waiting) > 1 else slab
            self.waiting = [slab[:, whole:].copy()] if whole < depth else []
            self._write(slab[:, :whole])

    def finish(self) -> None:
        """Write what waits for a whole chunk."""
        if self.waiting:
            self._write(np.concatenate(self.waiting, axis=1))
            self.waiting = []
        if self.coarser is not None:
            self.coarser.finish()

    def _write(self, slab: np.ndarray) -> None:
        place = slice(self.written, self.written + slab.shape[1])
        self.written = place.stop
        self.array[(place,) if self.array.ndim == 3 else (slice(None), place)] = (
            slab[0] if self.array.ndim == 3 else slab
        )
        if self.coarser is not None:
            z, y, x = self.steps
            self.coarser.take(slab[:, ::z, ::y, ::x])


class ZarrWriter:
    """Writes an OME-Zarr image into a folder, slab by slab; each coarser resolution has every second voxel.

    An axis is halved where its voxels lie closer than those of the others, until an image fits into a few chunks.

    Parameters
    ----------
    folder : an empty folder
    geometry : the grid, with its axes along LPS: OME-Zarr has no orientation
    dtype : the voxels' type; bool becomes uint8, float16 float32
    channels : their number
    name : what the image is called
    segments : the segments of labels; None for an image that is none
    version : of OME-Zarr; by default the newest one that the installed zarr can write

    Raises
    ------
    DependencyError
        If zarr is missing, or cannot write that version.
    """

    def __init__(
        self,
        folder: Path,
        geometry: Geometry,
        dtype: Any,
        *,
        channels: int = 1,
        name: str = "image",
        segments: Sequence[SegmentInfo] | None = None,
        version: Version | None = None,
    ) -> None:
        zarr = import_zarr()
        version = version or newest_version(zarr)
        if _FORMATS[version] > newest_format(zarr):
            raise DependencyError(
                f"OME-Zarr {version} needs zarr 3; zarr {zarr.__version__} is installed.",
                "Use Python 3.11 or newer and install zarr 3.",
            )
        new = {"zarr_format": _FORMATS[version]} if newest_format(zarr) == 3 else {}
        group = zarr.open_group(str(folder), mode="w", **new)
        steps = _steps(geometry)
        factors = list(accumulate(steps, _times, initial=(1, 1, 1)))
        self._channels = channels
        self._level: _Level | None = None
        for number in reversed(range(len(factors))):
            shape = tuple(-(-size // factor) for size, factor in zip(geometry.shape, factors[number], strict=True))
            array = _new_array(group, str(number), self._axes, self._with_channels(shape, channels), dtype, version)
            self._level = _Level(array, steps[number] if number < len(steps) else (1, 1, 1), self._level)
        notes: dict[str, Any] = {"multiscales": [self._multiscale(geometry, factors, name, version)]}
        if segments is not None:
            notes[LABEL_IMAGE] = {"version": version, **_label_notes(segments)}
        group.attrs.update(notes if version == "0.4" else {"ome": {"version": version, **notes}})

    def write(self, slab: np.ndarray) -> None:
        """Write the next slices, (C, Z, Y, X)."""
        assert self._level is not None
        self._level.take(slab)

    def finish(self) -> None:
        """Write what has not been yet."""
        assert self._level is not None
        self._level.finish()

    def close(self) -> None:
        """Nothing is held open."""

    @property
    def _axes(self) -> str:
        return "czyx" if self._channels > 1 else "zyx"

    def _with_channels(self, values: Sequence[Any], channel: Any) -> list[Any]:
        return [channel, *values] if self._channels > 1 else list(values)

    def _multiscale(self, geometry: Geometry, factors: list[Steps], name: str, version: str) -> dict[str, Any]:
        per_mm, unit = length_unit(min(geometry.spacing))
        axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if self._channels > 1 else []
        axes += [{"name": axis, "type": "space", "unit": _UNIT_NAMES[unit]} for axis in "zyx"]
        first = [_rounded(value * per_mm) for value in reversed(geometry.origin)]
        sets = []
        for number, factor in enumerate(factors):
            scale = [_rounded(step * size * per_mm) for step, size in zip(factor, geometry.spacing, strict=True)]
            transformations = [
                {"type": "scale", "scale": self._with_channels(scale, 1.0)},
                {"type": "translation", "translation": self._with_channels(first, 0.0)},
            ]
            sets.append({"path": str(number), "coordinateTransformations": transformations})
        described = {"name": name, "axes": axes, "datasets": sets, "type": "nearest"}
        return described if version != "0.4" else {"version": version, **described}


def newest_version(zarr: Any) -> Version:
    """Return the newest version of OME-Zarr that an installed zarr can write."""
    return "0.5" if newest_format(zarr) == 3 else "0.4"


def _new_array(group: Any, name: str, axes: str, shape: list[int], dtype: Any, version: str) -> Any:
    chunks = tuple(map(min, shape, CHUNK if len(shape) == 3 else (1, *CHUNK)))
    wanted = {"shape": tuple(shape), "chunks": chunks, "dtype": written_type(dtype), "fill_value": 0}
    if not hasattr(group, "create_array"):  # zarr 2
        return group.create_dataset(name, dimension_separator="/", **wanted)
    if version == "0.4":
        return group.create_array(name, chunk_key_encoding={"name": "v2", "separator": "/"}, **wanted)
    return group.create_array(name, dimension_names=list(axes), **wanted)


def _steps(geometry: Geometry) -> list[Steps]:
    """Return by how much each resolution is coarser than the one before, along z, y and x: 1 or 2."""
    steps: list[Steps] = []
    shape, spacing = np.array(geometry.shape), np.array(geometry.spacing)
    while (shape > CHUNK[-1]).any():
        finest = spacing[shape > 1].min()
        step = np.where((shape > 1) & (spacing < 2 * finest), 2, 1)
        steps.append((int(step[0]), int(step[1]), int(step[2])))
        shape, spacing = -(-shape // step), spacing * step
    return steps


def _times(one: Steps, other: Steps) -> Steps:
    return (one[0] * other[0], one[1] * other[1], one[2] * other[2])


def _rounded(value: float) -> float:
    """Return a number without what the change of units adds at its end: 0.35, not 0.35000000000000003."""
    return float(f"{value:.{_DIGITS}g}")


def _label_notes(segments: Sequence[SegmentInfo]) -> dict[str, Any]:
    colors = [
        {"label-value": segment.value, "rgba": [*(round(255 * part) for part in segment.color), 255]}
        for segment in segments
    ]
    return {"colors": colors, "properties": [_property(segment) for segment in segments]}


def _property(segment: SegmentInfo) -> dict[str, Any]:
    more = {"terminology": segment.terminology, "algorithm": segment.algorithm}
    return {"label-value": segment.value, "name": segment.name, **{key: text for key, text in more.items() if text}}
