"""DICOM segmentation objects (SEG) read as labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.color import lab2rgb

from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.image import Geometry, place, whole_voxel_offset
from SparseSegLib.io.dicom.frames import Frame, frames_of
from SparseSegLib.io.dicom.pixels import stored_frames
from SparseSegLib.io.dicom.reading import check_size, shown
from SparseSegLib.io.dicom.values import numbers, text, whole
from SparseSegLib.io.segmentation import SegmentInfo, default_color, default_segment, known_algorithm
from SparseSegLib.io.terminology import TISSUE, Code, Terminology, format_terminology

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_OFF = 0.05  # of a voxel: what rounding in headers explains
_LARGEST = 1 << 30  # voxels of the grid that few frames may span
_PARALLEL = 1e-3


def read_segmentation(
    dataset: Dataset, file: str, reference: Geometry | None = None
) -> tuple[np.ndarray, Geometry, list[SegmentInfo]]:
    """Return a SEG's labels (Z, Y, X), their grid and their segments; see `read_dicom_labels`."""
    labelmap = text(dataset, "SegmentationType").upper() == "LABELMAP"
    described = {whole(one, "SegmentNumber", 0): one for one in dataset.get("SegmentSequence") or []}
    described = {number: described[number] for number in sorted(described) if number > 0}  # 0: the background
    values = {number: value for value, number in enumerate(described, start=1)}
    check_size(file, dataset)
    frames = frames_of(dataset, file)
    grid, slices = _grid(frames, file, _said_step(dataset), reference)
    labels = np.zeros(grid.shape, np.min_scalar_type(max(1, len(values))))
    for frame, z, stored in zip(frames, slices, stored_frames(dataset, file), strict=True):
        if labelmap:
            drawn = _renumbered(stored, values, file)
        else:
            drawn = _mask(stored, dataset, file) * labels.dtype.type(_value(frame.segment, values, file))
        labels[z] = np.maximum(labels[z], drawn)
    infos = [_info(one, values[number]) for number, one in described.items()]
    if reference is not None and whole_voxel_offset(grid, reference) is not None:
        return place(labels, grid, reference), reference, infos
    return labels, grid, infos


def _said_step(dataset: Dataset) -> float | None:
    """Return the distance of slices in a SEG's header, mm."""
    for shared in dataset.get("SharedFunctionalGroupsSequence") or []:
        for measures in shared.get("PixelMeasuresSequence") or []:
            step = numbers(measures, "SpacingBetweenSlices", 1)
            return abs(step[0]) if step and step[0] else None
    return None


def _grid(
    frames: Sequence[Frame], file: str, said: float | None, reference: Geometry | None
) -> tuple[Geometry, list[int]]:
    """Return the grid of frames, of which empty ones may be missing, and the slice of each."""
    first = frames[0]
    for one in frames:
        if one.position is None or one.orientation is None or one.spacing is None:
            raise VolumeError(
                f"The frames of the DICOM SEG {shown(file)} have no places in the patient.",
                "Segmentations of slides and photographs are not supported.",
            )
        if not np.allclose((*one.orientation, *one.spacing), (*first.orientation, *first.spacing), atol=1e-3):  # type: ignore[misc]
            raise VolumeError(
                f"The frames of the DICOM SEG {shown(file)} differ in orientation or spacing.", "Export it again."
            )
    positions = np.array([one.position for one in frames])
    along = positions @ first.normal
    start = int(np.argmin(along))
    heights = along - along[start]
    sideways = positions - positions[start] - heights[:, None] * first.normal
    step = _step(heights, said, reference, first)
    y, x = first.spacing  # type: ignore[misc]
    if step is None or np.abs(sideways).max() > _OFF * min(y, x):
        raise FileError(
            f"The slices of the DICOM SEG {shown(file)} are uneven or tilted.",
            "Load it in 3D Slicer with its scan and save it as .seg.nrrd.",
        )
    slices = np.rint(heights / step).astype(int).tolist()
    shape = (max(slices) + 1, *first.size)
    if int(np.prod(shape, dtype=object)) > _LARGEST:
        raise FileError(f"The frames of the DICOM SEG {shown(file)} lie too far apart.", "Export it again.")
    x_axis, y_axis = np.split(np.array(first.orientation), 2)
    axes = np.column_stack([x_axis, y_axis, first.normal])
    return Geometry(shape, (step, y, x), tuple(positions[start]), tuple(axes.ravel())), slices


def _step(heights: np.ndarray, said: float | None, reference: Geometry | None, first: Frame) -> float | None:
    """Return the distance of slices, mm: the file's, or the reference's, or the least between frames.

    None if the heights of the frames (mm) are not multiples of any.
    """
    between = np.diff(np.unique(np.round(heights, 4)))
    candidates = [said, None if reference is None else _spacing_along(reference, first.normal)]
    candidates.append(float(between.min()) if len(between) else 1.0)
    for step in candidates:
        if step and np.abs(heights / step - np.rint(heights / step)).max() <= _OFF:
            return step
    return None


def _spacing_along(grid: Geometry, normal: np.ndarray) -> float | None:
    """Return the spacing of the grid's axis that runs along a normal, either way; None if none does."""
    cosines = np.abs(normal @ np.array(grid.direction).reshape(3, 3))
    axis = int(np.argmax(cosines))
    return float(grid.spacing[2 - axis]) if cosines[axis] > 1 - _PARALLEL else None


def _value(number: int, values: dict[int, int], file: str) -> int:
    if number not in values:
        raise FileError(f"The DICOM SEG {shown(file)} has frames of a segment that it does not describe.", "Repair it.")
    return values[number]


def _renumbered(stored: np.ndarray, values: dict[int, int], file: str) -> np.ndarray:
    """Return a frame of a labelmap with 1..n for the numbers of its segments."""
    numbers_here, where = np.unique(stored, return_inverse=True)
    table = np.array([0 if number == 0 else _value(int(number), values, file) for number in numbers_here])
    return table[where.reshape(stored.shape)]


def _mask(stored: np.ndarray, dataset: Dataset, file: str) -> np.ndarray:
    """Return where a segment is; raises VolumeError for fractions."""
    full = whole(dataset, "MaximumFractionalValue", 1) if text(dataset, "SegmentationType") == "FRACTIONAL" else 1
    mask = stored == full
    if ((stored != 0) & ~mask).any():
        raise VolumeError(
            f"The DICOM SEG {shown(file)} is fractional (probabilities or parts of voxels).",
            "Threshold it first, for example in 3D Slicer, and save it as .seg.nrrd.",
        )
    return mask


def _info(segment: Any, value: int) -> SegmentInfo:
    name = text(segment, "SegmentLabel") or text(segment, "SegmentDescription") or default_segment(value).name
    algorithm = known_algorithm(text(segment, "SegmentAlgorithmType"))
    return SegmentInfo(value, name, _color(segment, value), format_terminology(_terminology(segment)), algorithm)


def _color(segment: Any, value: int) -> tuple[float, float, float]:
    found = numbers(segment, "RecommendedDisplayCIELabValue", 3)
    if found is None:
        return default_color(value)
    lightness, a, b = np.array(found) / 65535
    red, green, blue = np.clip(lab2rgb([[lightness * 100, a * 255 - 128, b * 255 - 128]])[0], 0, 1)
    return (_of_255(red), _of_255(green), _of_255(blue))


def _of_255(part: float) -> float:
    """Return a part of a color as one of the 256 that screens show."""
    return round(round(float(part) * 255) / 255, 4)


def _terminology(segment: Any) -> Terminology:
    kind, region = _item(segment, "SegmentedPropertyTypeCodeSequence"), _item(segment, "AnatomicRegionSequence")
    category = _code(_item(segment, "SegmentedPropertyCategoryCodeSequence"))
    return Terminology(
        category or TISSUE,
        _code(kind) or category or TISSUE,
        _code(_item(kind, "SegmentedPropertyTypeModifierCodeSequence")),
        _code(region),
        _code(_item(region, "AnatomicRegionModifierSequence")),
    )


def _item(dataset: Any, name: str) -> Any:
    """Return the first item of a sequence; an empty one where there is none."""
    return (dataset.get(name) or [{}])[0]


def _code(item: Any) -> Code | None:
    value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    return Code(text(item, "CodingSchemeDesignator"), value, text(item, "CodeMeaning")) if value else None
