"""The segments of 3D Slicer's .seg.nrrd files, read and written as Slicer does."""

from __future__ import annotations

import colorsys
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from SparseSegLib.image import Geometry

LARGEST_VALUE = 2**31 - 1
"""The highest value of a segment in 3D Slicer."""
ALGORITHM_TYPES = (AUTOMATIC := "AUTOMATIC", SEMIAUTOMATIC := "SEMIAUTOMATIC", MANUAL := "MANUAL")
"""DICOM's words for how a segment was made: by a model alone, from what a user drew, by the user alone."""
_TERMINOLOGY = "TerminologyEntry"
_ALGORITHM_TYPE = "DICOM.SegmentAlgorithmType"
_REPRESENTATION = "Binary labelmap"
_FEW = 1 << 16
_GOLDEN_RATIO = 0.618034
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class SegmentInfo:
    """A segment of a labelmap.

    Parameters
    ----------
    value : int
        The value of its voxels, not 0.
    name : str
        What the user calls it.
    color : tuple of float
        (red, green, blue), each 0 to 1.
    terminology : str
        3D Slicer's terminology entry, or "".
    algorithm : str
        How it was made, one of `ALGORITHM_TYPES`; "" where nothing says so.
    """

    value: int
    name: str
    color: tuple[float, float, float]
    terminology: str = ""
    algorithm: str = ""


@dataclass(frozen=True)
class StoredSegment:
    """A segment as a file describes it: its info, and the layer of the labelmap that it lies in."""

    info: SegmentInfo
    layer: int


def default_color(value: int) -> tuple[float, float, float]:
    """Return a color for a label; those of neighboring values differ clearly."""
    red, green, blue = colorsys.hsv_to_rgb((value - 1) * _GOLDEN_RATIO % 1.0, 0.65, 0.9)
    return (round(red, 4), round(green, 4), round(blue, 4))


def default_segment(value: int) -> SegmentInfo:
    """Return the description of a label that has no name; it is called as Slicer calls it."""
    return SegmentInfo(value, f"Segment_{value}", default_color(value))


def segments_from_metadata(metadata: Mapping[str, str], layers: int) -> list[StoredSegment]:
    """Return the segments that a file's key-value pairs describe, in order; none for a plain labelmap.

    Parameters
    ----------
    metadata : the file's key-value pairs
    layers : how many labelmaps the file has

    Raises
    ------
    ValueError
        With words for the user, if a segment has a value or a layer that cannot be, or two have the same.
    """
    found: list[StoredSegment] = []
    places: set[tuple[int, int]] = set()
    while f"Segment{len(found)}_ID" in metadata:
        key = f"Segment{len(found)}"
        name = metadata.get(f"{key}_Name", "") or metadata[f"{key}_ID"]
        value = _integer(name, "value", metadata.get(f"{key}_LabelValue", ""), 1, 1, LARGEST_VALUE)
        layer = 0
        if layers > 1:
            layer = _integer(name, "layer", metadata.get(f"{key}_Layer", ""), len(found), 0, layers - 1)
        if (layer, value) in places:
            raise ValueError(f'the segment "{name}" has the value {value}, as another one has')
        places.add((layer, value))
        color = _color(metadata.get(f"{key}_Color", ""), value)
        tags = _tags(metadata.get(f"{key}_Tags", ""))
        algorithm = known_algorithm(tags.get(_ALGORITHM_TYPE, ""))
        found.append(StoredSegment(SegmentInfo(value, name, color, tags.get(_TERMINOLOGY, ""), algorithm), layer))
    return found


def known_algorithm(text: str) -> str:
    """Return one of `ALGORITHM_TYPES`, or "" for any other text."""
    return text if text in ALGORITHM_TYPES else ""


def _tags(text: str) -> dict[str, str]:
    """A segment's tags, which Slicer writes as ``name:value|name:value|``."""
    pairs = (part.partition(":") for part in text.split("|"))
    return {name: value for name, _, value in pairs if name}


def _integer(name: str, what: str, text: str, default: int, low: int, high: int) -> int:
    if not text.strip():
        text = str(default)
    if not re.fullmatch(r"\s*[+-]?\d{1,10}\s*", text, re.ASCII) or not low <= int(text) <= high:
        raise ValueError(f'the segment "{name}" has the {what} {text.strip()[:20]}')
    return int(text)


def _color(text: str, value: int) -> tuple[float, float, float]:
    try:
        red, green, blue = (min(1.0, max(0.0, float(part))) for part in text.split())
    except ValueError:
        return default_color(value)
    if not all(map(math.isfinite, (red, green, blue))):
        return default_color(value)
    return (red, green, blue)


def merge_layers(layers: np.ndarray, stored: Sequence[StoredSegment]) -> tuple[np.ndarray, list[SegmentInfo]]:
    """Return overlapping segments as one labelmap.

    Parameters
    ----------
    layers : np.ndarray
        (L, Z, Y, X) integers, as the file has them.
    stored : sequence of StoredSegment
        Its segments.

    Returns
    -------
    np.ndarray
        (Z, Y, X); the segments have the values 1..n in their order, and where they overlap the higher layer wins.
    list of SegmentInfo
        The segments with these values.
    """
    merged = np.zeros(layers.shape[1:], np.min_scalar_type(len(stored)))
    numbered = list(enumerate(stored, start=1))
    for number, one in sorted(numbered, key=lambda pair: (pair[1].layer, pair[0])):
        merged[layers[one.layer] == one.info.value] = number
    return merged, [replace(one.info, value=number) for number, one in numbered]


def segment_metadata(
    boxes: Mapping[int, tuple[slice, ...]], geometry: Geometry, segments: Sequence[SegmentInfo]
) -> dict[str, str]:
    """Return the key-value pairs with which Slicer reads a labelmap as a segmentation of one layer.

    ``boxes`` has the box of each value that occurs, as of `label_boxes`.
    """
    metadata = {
        "Segmentation_MasterRepresentation": _REPRESENTATION,
        "Segmentation_ContainedRepresentationNames": f"{_REPRESENTATION}|",
        "Segmentation_ConversionParameters": f"Reference image geometry|{_image_geometry(geometry)}|&",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for index, segment in enumerate(segments):
        metadata |= {
            f"Segment{index}_ID": f"Segment_{segment.value}",
            f"Segment{index}_Name": _storable(segment.name),
            f"Segment{index}_NameAutoGenerated": "0",
            f"Segment{index}_Color": " ".join(f"{part:.6g}" for part in segment.color),
            f"Segment{index}_ColorAutoGenerated": "0",
            f"Segment{index}_LabelValue": str(segment.value),
            f"Segment{index}_Layer": "0",
            f"Segment{index}_Extent": _extent(boxes.get(segment.value)),
        }
        tags = {_TERMINOLOGY: _storable(segment.terminology), _ALGORITHM_TYPE: segment.algorithm}
        if any(tags.values()):
            metadata[f"Segment{index}_Tags"] = "".join(f"{name}:{value}|" for name, value in tags.items() if value)
    return metadata


def label_boxes(array: np.ndarray) -> dict[int, tuple[slice, ...]]:
    """Return the box of each value but 0 that occurs in labels (Z, Y, X)."""
    if array.dtype == np.uint8 or 0 <= array.min() <= array.max() <= _FEW:
        return {value: box for value, box in enumerate(ndimage.find_objects(array), start=1) if box is not None}
    values, numbers = np.unique(array, return_inverse=True)
    boxes = ndimage.find_objects(numbers.reshape(array.shape) + 1)
    return {int(value): box for value, box in zip(values, boxes, strict=True) if value and box is not None}


def _storable(text: str) -> str:
    """Return a text as NRRD can keep it: in UTF-8, and of all control characters only newlines, which it escapes."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(" " if unicodedata.category(c) == "Cc" and c != "\n" else c for c in text)


def _extent(box: tuple[slice, ...] | None) -> str:
    """Write a box as Slicer does: first and last voxel along x, y, z; empty ones end before they start."""
    if box is None:
        return "0 -1 0 -1 0 -1"
    return " ".join(f"{part.start} {part.stop - 1}" for part in reversed(box))


def _image_geometry(geometry: Geometry) -> str:
    """Write the grid as Slicer does: the matrix from (i, j, k) to RAS by rows, then the extent."""
    affine = geometry.affine()
    affine[:, :3] = affine[:, 2::-1]
    extent = [number for size in reversed(geometry.shape) for number in (0, size - 1)]
    return "".join(f"{value:.17g};" for value in (*(_LPS_TO_RAS @ affine).ravel(), *extent))
