"""The frames of DICOM images: where each lies and how its values are scaled, in single slices and multi-frame files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.io.dicom.reading import shown
from SparseSegLib.io.dicom.values import numbers, text, whole

_GROUPS = (  # functional groups that say where a frame lies, what of, and how its values are scaled
    "PlanePositionSequence",
    "PlanePositionVolumeSequence",
    "PlaneOrientationSequence",
    "PlaneOrientationVolumeSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "RealWorldValueMappingSequence",
    "FrameContentSequence",
    "TemporalPositionSequence",
    "MREchoSequence",
    "MRDiffusionSequence",
    "SegmentIdentificationSequence",
)
_APART = {  # what distinguishes the volumes that one file or series may contain
    "StackID": "stacks",
    "TemporalPositionIndex": "time points",
    "TemporalPositionIdentifier": "time points",
    "TemporalPositionTimeOffset": "time points",
    "EffectiveEchoTime": "echo times",
    "DiffusionBValue": "diffusion weights",
}
_TIME_VECTORS = {0x00181063, 0x00181065}  # a frame increment pointer to these: the frames are a film
_SEVERAL = (  # nuclear medicine: more than one of these, and the frames are not one volume
    *("NumberOfEnergyWindows", "NumberOfDetectors", "NumberOfPhases", "NumberOfRRIntervals", "NumberOfTimeSlots"),
)
DEFAULT_ORIENTATION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Frame:
    """One slice of a scan: a file, or one frame of a multi-frame file.

    Attributes
    ----------
    file : the file that it is in
    index : which frame of the file, from 0
    name : what to call it in messages
    size : (rows, columns)
    position : LPS (x, y, z) mm of the center of its first voxel, or None if it does not say
    orientation : LPS direction of its rows' x and columns' y, six numbers, or None
    spacing : distance of its rows and of its columns (y, x), mm, or None
    slope, intercept : from stored to real values
    unit : of the real values, "" where it does not say
    calibrated : whether it has a scaling of its values
    apart : what of it differs between volumes that one file or series may hold: stack, time, echo
    stored : the name of the type of its stored values
    bits : how many bits of them are the value, and the number of the highest of these
    offset : where in the file its values begin if they lie there plainly, else None
    table : whether a table, not a slope, scales its values
    segment : the number of the segment that it shows, in segmentations
    """

    file: str
    index: int
    name: str
    size: tuple[int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    slope: float = 1.0
    intercept: float = 0.0
    unit: str = ""
    calibrated: bool = False
    apart: tuple[tuple[str, str], ...] = ()
    stored: str = "uint16"
    bits: tuple[int, int] = (16, 15)
    offset: int | None = None
    table: bool = False
    segment: int = 0

    @property
    def normal(self) -> np.ndarray:
        """The direction (x, y, z) in which frames are stacked."""
        axes = self.orientation or DEFAULT_ORIENTATION
        return np.cross(axes[:3], axes[3:])


def single_frame(dataset: Any, file: str, offset: int | None = None) -> Frame:
    """Return the frame of a file with one slice; ``offset`` is where its pixels lie plainly."""
    return replace(_frame(dataset, dataset, file, 0, shown(file)), offset=offset)


def frames_of(dataset: Any, file: str, offset: int | None = None) -> list[Frame]:
    """Return the frames of a multi-frame file, in its order; ``offset`` is where its pixels lie plainly.

    Raises
    ------
    FileError
        If it does not say where its frames lie or how far apart they are.
    VolumeError
        If it is a film.
    """
    frames = _frames(dataset, file)
    rows, columns = frames[0].size
    size = rows * columns * whole(dataset, "BitsAllocated", 16) // 8
    if offset is None or whole(dataset, "BitsAllocated", 16) < 8:
        return frames
    return [replace(frame, offset=offset + frame.index * size) for frame in frames]


def _frames(dataset: Any, file: str) -> list[Frame]:
    count = whole(dataset, "NumberOfFrames", 1)
    if not dataset.get("PerFrameFunctionalGroupsSequence"):
        if count == 1:
            shared = dataset.get("SharedFunctionalGroupsSequence")
            return [_frame(dataset, _groups(dataset, 0) if shared else dataset, file, 0, shown(file))]
        return _classic_frames(dataset, file, count)
    return [_frame(dataset, _groups(dataset, index), file, index, _name(file, index)) for index in range(count)]


def _name(file: str, index: int) -> str:
    return f"frame {index + 1} of {shown(file)}"


def _groups(dataset: Any, index: int) -> dict[str, Any]:
    """Return the values of a frame's functional groups, its own before those that all share."""
    values: dict[str, Any] = {}
    shared, own = dataset.get("SharedFunctionalGroupsSequence"), dataset.get("PerFrameFunctionalGroupsSequence")
    for item in (*(shared or [])[:1], *([own[index]] if own else [])):
        for group in _GROUPS:
            for part in (item.get(group) or [])[:1]:
                values |= {element.keyword: element.value for element in part if element.keyword}
    return values


def _frame(dataset: Any, groups: Any, file: str, index: int, name: str) -> Frame:
    slope, intercept, unit, calibrated = _scaling(groups)
    return Frame(
        file,
        index,
        name,
        (whole(dataset, "Rows", 0), whole(dataset, "Columns", 0)),
        numbers(groups, "ImagePositionPatient", 3) or numbers(groups, "ImagePositionVolume", 3),
        _orientation(groups),
        numbers(groups, "PixelSpacing", 2),
        slope,
        intercept,
        unit,
        calibrated,
        tuple((key, text(groups, key)) for key in _APART if text(groups, key)),
        _stored_type(dataset),
        _bits(dataset),
        None,
        bool(dataset.get("ModalityLUTSequence")),
        whole(groups, "ReferencedSegmentNumber", 0),
    )


def _bits(dataset: Any) -> tuple[int, int]:
    allocated = whole(dataset, "BitsAllocated", 16)
    if allocated == 1:
        return 8, 7  # once they are unpacked
    stored = whole(dataset, "BitsStored", allocated)
    high = whole(dataset, "HighBit", stored - 1)
    if not 0 < stored <= high + 1 <= allocated:
        raise ValueError("the bits of the pixels make no sense")
    return stored, high


def _stored_type(dataset: Any) -> str:
    bits = whole(dataset, "BitsAllocated", 16)
    if bits in (32, 64) and dataset.get("PixelRepresentation") is None:
        return f"float{bits}"
    if bits not in (1, 8, 16, 32, 64):
        raise ValueError("the bits of the pixels make no sense")
    return f"{'int' if whole(dataset, 'PixelRepresentation', 0) else 'uint'}{max(8, bits)}"


def _orientation(groups: Any) -> tuple[float, ...] | None:
    """Return the directions of rows and columns as unit vectors; raises ValueError if they are none."""
    found = numbers(groups, "ImageOrientationPatient", 6) or numbers(groups, "ImageOrientationVolume", 6)
    if found is None:
        return None
    x, y = np.array(found[:3]), np.array(found[3:])
    lengths = np.linalg.norm(x), np.linalg.norm(y)
    if max(abs(length - 1) for length in lengths) > 1e-2 or abs(x @ y) > 1e-2:
        raise ValueError("the orientation is not two unit vectors at right angles")
    return (*(x / lengths[0]).tolist(), *(y / lengths[1]).tolist())


def _scaling(groups: Any) -> tuple[float, float, str, bool]:
    """Return slope, intercept, unit, and whether they are given: the rescale's, or else those of real world values."""
    slope, intercept = numbers(groups, "RescaleSlope", 1), numbers(groups, "RescaleIntercept", 1)
    unit = text(groups, "RescaleType") or text(groups, "Units")
    if slope is None and intercept is None:
        slope = numbers(groups, "RealWorldValueSlope", 1)
        intercept = numbers(groups, "RealWorldValueIntercept", 1)
        code = (groups.get("MeasurementUnitsCodeSequence") or [{}])[0] if slope else {}
        unit = text(code, "CodeValue") or unit
    factor = slope[0] if slope else 1.0
    if factor == 0:
        raise ValueError("the rescale slope is 0")
    return factor, intercept[0] if intercept else 0.0, unit, slope is not None or intercept is not None


def _classic_frames(dataset: Any, file: str, count: int) -> list[Frame]:
    """Return the frames of a file with one distance for all (nuclear medicine, 3D ultrasound)."""
    _check_no_film(dataset, file)
    step = numbers(dataset, "SpacingBetweenSlices", 1)
    if step is None or step[0] == 0 or numbers(dataset, "PixelSpacing", 2) is None:
        missing = "pixel spacing" if step else "distance between its slices"
        raise FileError(
            f"The multi-frame file {shown(file)} does not say the {missing}; a slice thickness is none.",
            "Export the scan as single slices or as enhanced multi-frame DICOM, or save it as .nrrd with the right "
            "spacing.",
        )
    detector = (dataset.get("DetectorInformationSequence") or [{}])[0]
    orientation = _orientation(dataset) or _orientation(detector) or DEFAULT_ORIENTATION
    start = numbers(dataset, "ImagePositionPatient", 3) or numbers(detector, "ImagePositionPatient", 3) or (0.0,) * 3
    normal = np.cross(orientation[:3], orientation[3:])
    slope, intercept, unit, calibrated = _scaling(dataset)
    first = Frame(
        file,
        0,
        _name(file, 0),
        (whole(dataset, "Rows", 0), whole(dataset, "Columns", 0)),
        start,
        orientation,
        numbers(dataset, "PixelSpacing", 2),
        slope,
        intercept,
        unit,
        calibrated,
        stored=_stored_type(dataset),
        bits=_bits(dataset),
        table=bool(dataset.get("ModalityLUTSequence")),
    )
    places = [tuple((np.array(start) + index * step[0] * normal).tolist()) for index in range(count)]
    return [replace(first, index=i, name=_name(file, i), position=place) for i, place in enumerate(places)]


def _check_no_film(dataset: Any, file: str) -> None:
    """Raise VolumeError if the frames of a file are not the slices of one volume."""
    pointer = dataset.get("FrameIncrementPointer")
    pointers = {int(one) for one in (pointer if hasattr(pointer, "__iter__") else [pointer]) if one}
    if pointers & _TIME_VECTORS or any(whole(dataset, name, 1) > 1 for name in _SEVERAL):
        raise VolumeError(
            f"The frames of {shown(file)} are moments or views, not the slices of one volume.",
            "Choose a volume, or save one time point as .nrrd.",
        )


def volumes_apart(frames: list[Frame]) -> tuple[str, list[str]] | None:
    """Return what several volumes among the frames differ in, and the values; None if they are one volume.

    A value that every frame has for itself (its time of acquisition) does not distinguish volumes.
    """
    for key, words in _APART.items():
        values = sorted({dict(frame.apart).get(key, "") for frame in frames})
        if len(values) > 1 and 2 * len(values) <= len(frames):
            return words, values
    return None
