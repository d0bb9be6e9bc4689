"""OME-Zarr's description of an image (NGFF 0.4 and 0.5): its axes, and where its voxels lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SparseSegLib.errors import FileError, GeometryError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.io.declared import damaged_header, shown
from SparseSegLib.io.headers import time_series
from SparseSegLib.io.itk import impossible_grid
from SparseSegLib.io.length_units import millimeters
from SparseSegLib.io.ome_zarr.store import ZarrNode, inside, read_node

READ_VERSIONS = ("0.4", "0.5")
LABEL_IMAGE = "image-label"
_SERIES = "bioformats2raw.layout"
_KINDS = {"t": "time", "c": "channel"}  # of axes that do not say theirs
_ROLES = {kind: name for name, kind in _KINDS.items()}
_LARGEST = 1e100
_MOST_NAMED = 6


@dataclass(frozen=True)
class Level:
    """The finest of an image's resolutions.

    Parameters
    ----------
    path : the array's folder
    axes : what each of the array's axes is, of "t", "c", "z", "y" and "x"
    scale : the distance of its voxels along each axis, mm for z, y and x
    translation : the place of its first voxel along each axis, mm for z, y and x
    """

    path: Path
    axes: tuple[str, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]

    def geometry(self, shape: Sequence[int]) -> Geometry:
        """Return the grid of the volume, for an array of a shape; 2D images have one slice.

        Raises
        ------
        VolumeError
            If it is a time series, or has further axes that are longer than 1.
        FileError
            If the grid cannot be.
        """
        size = dict(zip(self.axes, shape, strict=True))
        if size.get("t", 1) > 1:
            raise time_series(self.path.parent)
        scale, first = (dict(zip(self.axes, values, strict=True)) for values in (self.scale, self.translation))
        spacing = [scale.get(axis, scale["x"]) for axis in "zyx"]
        try:
            sizes = tuple(size.get(axis, 1) for axis in "zyx")
            return Geometry(sizes, tuple(spacing), tuple(first.get(axis, 0.0) for axis in "xyz"))  # type: ignore[arg-type]
        except GeometryError as error:
            raise impossible_grid(self.path, error) from error


def notes_of(node: ZarrNode) -> dict[str, Any]:
    """Return what OME-Zarr notes of a group, wherever its version keeps that."""
    if node.version == 2:
        return node.attributes
    notes = node.attributes.get("ome", {})
    return notes if isinstance(notes, dict) else {}


def image_at(path: Path) -> ZarrNode:
    """Return the image that a folder is, or the only one of a series that it holds.

    Raises
    ------
    FileError
        If the folder holds something else: an array, a plate, several images.
    """
    node = read_node(path)
    notes = notes_of(node)
    if node.is_array:
        raise FileError(
            f"The folder {path} is an array of Zarr, without the description of an OME-Zarr image.",
            "Choose the folder around it, or save it as OME-Zarr.",
        )
    if "multiscales" in notes:
        return node
    if "plate" in notes or "well" in notes:
        raise FileError(f"The folder {path} is a plate or well of many images.", "Choose one of the images in it.")
    if _SERIES in notes:
        images = sorted(child.name for child in path.iterdir() if child.name.isdecimal() and child.is_dir())
        if len(images) == 1:
            return image_at(path / images[0])
        raise FileError(f"The folder {path} holds {len(images)} images.", f"Choose one of them, as {path / '0'}.")
    raise FileError(f"The folder {path} has no description of an OME-Zarr image.", "Save the image as OME-Zarr.")


def labels_at(path: Path) -> ZarrNode:
    """Return the image of labels that a folder is, or the only one that an image holds in ``labels``.

    Raises FileError as `image_at` does, and if there are several.
    """
    node = image_at(path)
    if LABEL_IMAGE in notes_of(node) or not (node.path / "labels").is_dir():
        return node
    listed = notes_of(read_node(node.path / "labels")).get("labels")
    if not isinstance(listed, list) or not listed:
        return node
    if len(listed) > 1:
        names = ", ".join(shown(str(name)) for name in listed[:_MOST_NAMED])
        raise FileError(
            f"The image {path} has {len(listed)} images of labels: {names}.",
            f"Choose one of them, as {node.path / 'labels' / str(listed[0])}.",
        )
    return image_at(inside(node.path / "labels", listed[0]))


def finest_level(node: ZarrNode) -> Level:
    """Return the finest resolution of an image.

    Raises
    ------
    FileError
        If the description is of another version, or something in it cannot be.
    VolumeError
        If the image has other axes than a volume, or there are several images.
    """
    notes, path = notes_of(node), node.path
    listed = notes.get("multiscales")
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise damaged_header(path, "it describes no image")
    if len(listed) > 1:
        raise VolumeError(f"The folder {path} describes {len(listed)} images.", "Save the one to be used by itself.")
    image = listed[0]
    version = notes.get("version", image.get("version"))
    if (version is not None and version not in READ_VERSIONS) or not isinstance(image.get("axes"), list):
        raise FileError(
            f"The image {path} is OME-Zarr of version {shown(str(version))}; {' and '.join(READ_VERSIONS)} are read.",
            "Save it in one of these versions.",
        )
    sets = image.get("datasets")
    if not isinstance(sets, list) or not sets or not isinstance(sets[0], dict):
        raise damaged_header(path, "it names no array")
    axes = _axes(path, image["axes"])
    fine = _transformation(path, sets[0].get("coordinateTransformations"), len(axes))
    whole = _transformation(path, image.get("coordinateTransformations", []), len(axes))
    units = [_unit(name, axis) for name, axis in zip(axes, image["axes"], strict=True)]
    rows = list(zip(units, *fine, *whole, strict=True))
    scale = tuple(unit * own * outer for unit, own, _, outer, _ in rows)
    translation = tuple(unit * (first * outer + more) for unit, _, first, outer, more in rows)
    return Level(inside(path, sets[0].get("path")), axes, scale, translation)


def _axes(path: Path, described: list[Any]) -> tuple[str, ...]:
    """Return what each axis is; those of space go by their names or, if these are others, by their order."""
    if not all(isinstance(axis, dict) and isinstance(axis.get("name"), str) for axis in described):
        raise damaged_header(path, "its axes have no names")
    names = [axis["name"].lower() for axis in described]
    kinds = [str(axis.get("type") or _KINDS.get(name, "space")) for axis, name in zip(described, names, strict=True)]
    axes = [{**_ROLES, "space": name}.get(kind, "?") for kind, name in zip(kinds, names, strict=True)]
    space = [number for number, kind in enumerate(kinds) if kind == "space"]
    if not {names[number] for number in space} <= set("zyx"):
        for number, axis in zip(space, "zyx"[-len(space) :], strict=False):
            axes[number] = axis
    if len(set(axes)) < len(axes) or not {"y", "x"} <= set(axes) <= set("tczyx"):
        raise VolumeError(
            f"The image {path} has axes {shown(', '.join(names))}, not those of a volume.", "Save it as ZYX."
        )
    return tuple(axes)


def _unit(name: str, axis: dict[str, Any]) -> float:
    """Return the length of an axis' unit in mm; 1 if it has none, or is no axis of space."""
    unit = axis.get("unit")
    return millimeters(unit) if name in "zyx" and isinstance(unit, str) and unit else 1.0


def _transformation(path: Path, steps: Any, count: int) -> tuple[list[float], list[float]]:
    """Return scale and translation of a list of transformations, each a number for each axis."""
    scale, translation = [1.0] * count, [0.0] * count
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise damaged_header(path, "it does not say how far apart its voxels are")
    for step in steps:
        kind = step.get("type")
        if kind == "identity":
            continue
        numbers = step.get(kind) if kind in ("scale", "translation") else None
        if not isinstance(numbers, list) or len(numbers) != count or not all(map(_is_number, numbers)):
            raise damaged_header(path, f"a transformation in it is {shown(str(step))}")
        if kind == "scale":
            scale = [old * new for old, new in zip(scale, numbers, strict=True)]
            translation = [old * new for old, new in zip(translation, numbers, strict=True)]
        else:
            translation = [old + new for old, new in zip(translation, numbers, strict=True)]
    return scale, translation


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST
