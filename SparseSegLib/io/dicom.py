"""DICOM series: the slices of one scan in a folder, checked to be a whole and even stack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SparseSegLib.atomic import PathLike
from SparseSegLib.errors import FileError, SparseSegError, VolumeError
from SparseSegLib.geometry import Geometry
from SparseSegLib.io.arrays import to_array
from SparseSegLib.io.headers import check_kind, open_header
from SparseSegLib.io.itk import quiet_itk, reading, truncated

_NO_IMAGES = {"RTSTRUCT", "RTPLAN", "RTRECORD", "SEG", "REG", "SR", "PR", "KO", "DOC"}
_HEAD = 1 << 14  # bytes of a file in which its series is named
_UNEVEN = 0.02  # of the slice distance: what rounding in headers explains
_TILTED = 0.05  # of the slice distance: sideways move from one slice to the next


@dataclass(frozen=True)
class DicomSeries:
    """One series of a folder.

    Parameters
    ----------
    uid : str
        The series instance UID.
    files : tuple of str
        Its files, sorted along the slice normal.
    modality : str
        "CT", "MR" and so on.
    description : str
        What the scanner's operator called it.
    """

    uid: str
    files: tuple[str, ...]
    modality: str = ""
    description: str = ""


@dataclass(frozen=True)
class Stack:
    """The slices of a series that were found to be a whole and even stack.

    Parameters
    ----------
    files : tuple of str
        Sorted along the slice normal.
    step : float
        Distance of neighboring slices, mm.
    origin : tuple of float
        LPS (x, y, z) mm of the first slice's first voxel.
    direction : tuple of float
        Nine numbers, as in `Geometry`.
    """

    files: tuple[str, ...]
    step: float
    origin: tuple[float, float, float]
    direction: tuple[float, ...]


@dataclass(frozen=True)
class _Slice:
    file: str
    position: np.ndarray  # LPS (x, y, z) mm of its first voxel
    direction: tuple[float, ...]
    size: tuple[int, ...]

    @property
    def normal(self) -> np.ndarray:
        return np.array(self.direction[2::3])


def find_series(folder: PathLike) -> list[DicomSeries]:
    """Return the image series in a folder, sorted by UID; files that are no DICOM images are passed over."""
    found = []
    with quiet_itk():
        for uid in sorted(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))):
            files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
            try:
                header = open_header(files[0])
            except SparseSegError:
                continue  # no image: structure sets and reports have series of their own
            modality = _tag(header, "0008|0060")
            if modality not in _NO_IMAGES:
                found.append(DicomSeries(uid, files, modality, _tag(header, "0008|103e")))
    return found


def series_of_files(files: Sequence[PathLike]) -> DicomSeries | None:
    """Return files as one series if all of them are DICOM, in whatever order they are; None otherwise."""
    for file in files:
        if not open_header(file).HasMetaDataKey("0008|0018"):  # the SOP instance UID
            return None
    return DicomSeries("", tuple(str(file) for file in files))


def check_no_slice_damaged(folder: PathLike, series: DicomSeries) -> None:
    """Raise FileError if a file of the folder belongs to the series but was cut off.

    GDCM passes over files that it cannot parse to the end, and the first or last slice would be lost silently.
    """
    known = {Path(file).name for file in series.files}
    uid = _element(b"\x20\x00\x0e\x00", series.uid)
    modality = _element(b"\x08\x00\x60\x00", series.modality)
    for file in sorted(path for path in Path(folder).iterdir() if path.is_file() and path.name not in known):
        with open(file, "rb") as stream:
            head = stream.read(_HEAD)
        if head[128:132] == b"DICM" and uid.search(head) and modality.search(head):
            raise truncated(file)


def _element(tag: bytes, value: str) -> re.Pattern[bytes]:
    """Return what finds a DICOM element of that value: four bytes of type and length lie between tag and value."""
    return re.compile(re.escape(tag) + b"...." + re.escape(value.encode()) + b"(?![0-9.])", re.DOTALL)


def choose_series(folder: PathLike, series: Sequence[DicomSeries], uid: str = "") -> DicomSeries:
    """Return the series with the UID, or the only one; raises FileError, listing them, where that is not clear."""
    if uid:
        for one in series:
            if one.uid == uid:
                return one
        raise FileError(f"The folder {folder} has no DICOM series {uid}.", _listing(series))
    if len(series) != 1:
        raise FileError(
            f"The folder {folder} has {len(series)} DICOM series.",
            f"Choose one by UID (--series on the command line): {_listing(series)}",
        )
    return series[0]


def _listing(series: Sequence[DicomSeries]) -> str:
    return (
        "; ".join(
            f"{s.uid} ({s.modality} {s.description or 'without description'}, {len(s.files)} files)" for s in series
        )
        + "."
    )


def read_series(series: DicomSeries, dtype: Any = None) -> tuple[np.ndarray, Geometry]:
    """Return a series as (C, Z, Y, X) and its geometry; CT in HU, through each slice's slope and intercept.

    Raises
    ------
    FileError
        If a slice is missing, doubled, truncated or of another size, or the slices are uneven or tilted.
    VolumeError
        If it is an RGB image or has several volumes.
    """
    if len(series.files) == 1:
        return _read_one(series.files[0], dtype)
    stack = check_stack(series)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(stack.files)
    # Slopes differ from slice to slice (PET): the first one's voxel type may not hold the others' values.
    reader.SetOutputPixelType(sitk.sitkFloat32)
    with reading(Path(series.files[0]).parent):
        image = reader.Execute()
        array = to_array(image, dtype)
    x, y, _ = image.GetSpacing()
    return array, Geometry(array.shape[1:], (stack.step, y, x), stack.origin, stack.direction)


def check_stack(series: DicomSeries) -> Stack:
    """Return the slices of a series of two files or more in order, from the headers alone; raises as `read_series`."""
    slices = [_slice(file) for file in series.files]
    normal = slices[0].normal
    slices.sort(key=lambda one: float(one.position @ normal))
    _check_alike(slices)
    step = _check_even(slices)
    x, y, z = slices[0].position.tolist()
    return Stack(tuple(one.file for one in slices), step, (x, y, z), slices[0].direction)


def slice_distance(series: DicomSeries) -> float:
    """Return the mean distance of a series' slices, mm, from the headers of its first and last file."""
    first, last = _slice(series.files[0]), _slice(series.files[-1])
    return abs(float((last.position - first.position) @ first.normal)) / (len(series.files) - 1)


def _read_one(file: str, dtype: Any) -> tuple[np.ndarray, Geometry]:
    """Read a file with all its frames (enhanced multi-frame DICOM)."""
    reader = open_header(file)
    check_kind(reader)
    with reading(file):
        image = reader.Execute()
        return to_array(image, dtype), Geometry.from_sitk(image)


def _slice(file: str) -> _Slice:
    reader = open_header(file)
    check_kind(reader)
    return _Slice(file, np.array(reader.GetOrigin()), reader.GetDirection(), reader.GetSize())


def _check_alike(slices: Sequence[_Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        if other.size != first.size:
            raise FileError(
                f"The slices of the series differ in size: {_name(first)} and {_name(other)}.",
                "Move the slices that do not belong to the scan out of the folder.",
            )
        if not np.allclose(other.direction, first.direction, atol=1e-3):
            raise FileError(
                f"The slices of the series differ in orientation: {_name(first)} and {_name(other)}.",
                "It may be a localizer; choose another series.",
            )


def _check_even(slices: Sequence[_Slice]) -> float:
    """Return the distance of the slices, mm; raises if it is not the same for all of them."""
    positions = np.array([one.position for one in slices])
    moves = np.diff(positions, axis=0)
    normal = slices[0].normal
    distances = moves @ normal
    typical = float(np.median(distances))
    _check_no_double(slices, distances, typical)
    for index, distance in enumerate(distances):
        before, after = _name(slices[index]), _name(slices[index + 1])
        missing = round(distance / typical) - 1
        if abs(distance - typical) <= _UNEVEN * typical:
            continue
        if missing >= 1 and abs(distance - (missing + 1) * typical) <= 0.2 * typical:
            raise FileError(
                f"The series misses {missing} slice(s) between {before} and {after} (distance {distance:.4g} mm "
                f"instead of {typical:.4g} mm).",
                "Copy the missing files into the folder, or export the series again.",
            )
        raise FileError(
            f"The slices of the series are uneven: {distance:.4g} mm between {before} and {after}, but mostly "
            f"{typical:.4g} mm.",
            "Load the series in 3D Slicer, which regularizes its geometry, and save it as .nrrd.",
        )
    sideways = np.linalg.norm(moves - distances[:, None] * normal, axis=1)
    if sideways.max() > _TILTED * typical:
        raise FileError(
            "The slices of the series are tilted against the way they are stacked (a tilted gantry).",
            "Load the series in 3D Slicer, which corrects the tilt, harden its transform and save it as .nrrd.",
        )
    return float(distances.mean())


def _check_no_double(slices: Sequence[_Slice], distances: np.ndarray, typical: float) -> None:
    doubles = np.flatnonzero(distances <= 1e-3 * max(typical, 1e-6))
    if len(doubles):
        one, other = slices[doubles[0]], slices[doubles[0] + 1]
        raise VolumeError(
            f"The series has more than one slice at the same place: {_name(one)} and {_name(other)}.",
            "It holds several volumes (time points, echoes, diffusion weights): export one of them by itself.",
        )


def _name(one: _Slice) -> str:
    return Path(one.file).name


def _tag(reader: sitk.ImageFileReader, key: str) -> str:
    return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""
