"""DICOM images: the series of a folder, and scans of single slices or multi-frame files as volumes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.errors import FileError, ResourceError, VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.image import Geometry
from SparseSegLib.io.dicom.frames import Frame, frames_of, single_frame
from SparseSegLib.io.dicom.kinds import no_image
from SparseSegLib.io.dicom.pixels import read_frames
from SparseSegLib.io.dicom.reading import (
    Header,
    check_size,
    cut_off,
    damaged,
    is_called_dicom,
    is_lost,
    read_header,
    reading_dicom,
    shown,
)
from SparseSegLib.io.dicom.stack import Stack, stack
from SparseSegLib.io.dicom.values import sop_class, text, whole
from SparseSegLib.io.headers import color_image
from SparseSegLib.io.itk import check_readable, no_memory

_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription", "PatientID"),
    *("FrameOfReferenceUID", "ImageType", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "Units", "ModalityLUTSequence"),
    *("TemporalPositionIdentifier", "RealWorldValueMappingSequence"),
)
_MIXED = "It mixes scans: export the patient's scan again, into an empty folder."


@dataclass(frozen=True)
class DicomFile:
    """A file of a series, as its header describes it.

    Attributes
    ----------
    path : the file
    sop_class, instance : UIDs of its kind and of itself
    patient, frame_of_reference : whose it is, and in which coordinates; "" where it does not say
    localizer : whether it is a scout view
    color : whether its pixels have colors
    count : how many frames it has
    frame : its slice; None for a multi-frame file, whose frames are read later
    """

    path: str
    sop_class: str
    instance: str
    patient: str
    frame_of_reference: str
    localizer: bool
    color: bool
    count: int
    frame: Frame | None


@dataclass(frozen=True)
class DicomSeries:
    """One series of a folder, or the DICOM files of a list.

    Attributes
    ----------
    uid : the series instance UID
    modality : "CT", "MR" and so on
    description : what the scanner's operator called it
    parts : its files, sorted by name
    damaged : files that belong to it, or may, but are cut off or cannot be read
    """

    uid: str
    modality: str = ""
    description: str = ""
    parts: tuple[DicomFile, ...] = field(default=(), repr=False)
    damaged: tuple[str, ...] = field(default=(), repr=False)

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of its files, sorted by name."""
        return tuple(part.path for part in self.parts)

    @property
    def count(self) -> int:
        """The number of its slices: files, or frames of multi-frame files."""
        return sum(part.count for part in self.parts)

    @property
    def localizer(self) -> bool:
        """Whether all of it is a localizer (scout view)."""
        return bool(self.parts) and all(part.localizer for part in self.parts)


def find_series(folder: PathLike) -> list[DicomSeries]:
    """Return the image series in a folder, not below it, sorted by UID; what is no DICOM image is passed over."""
    return _scan(folder)[0]


def _scan(folder: PathLike) -> tuple[list[DicomSeries], dict[str, tuple[str, str]]]:
    """Return the series of a folder, and what those of its DICOM files are that are no images."""
    scans: dict[str, _Scan] = {}
    others: dict[str, tuple[str, str]] = {}
    nameless: list[str] = []  # damaged before they say of which series they are
    for path in _files(folder):
        uid = ""
        try:
            header = read_header(path, _TAGS)
            if header is None:
                nameless += [path] if is_lost(path) else []
                continue
            with reading_dicom(path):
                kind = no_image(header.dataset, has_pixels=header.has_pixels)
                if kind is not None:
                    others[path] = kind
                    continue
                uid = text(header.dataset, "SeriesInstanceUID")
                scans.setdefault(uid, _Scan()).add(path, header)
        except (FileError, ResourceError):
            scans.setdefault(uid, _Scan()).damaged.append(path)
    return _of_known_series(scans, nameless), others


def _files(folder: PathLike) -> list[str]:
    """Return what may be DICOM in a folder, sorted: files that can be opened, and others that are called like it."""
    with os.scandir(folder) as entries:
        found = [entry.path for entry in entries if not entry.is_dir() and (entry.is_file() or entry.is_symlink())]
    return sorted(path for path in found if is_called_dicom(path) or os.access(path, os.R_OK))


def _of_known_series(scans: dict[str, _Scan], nameless: list[str]) -> list[DicomSeries]:
    """Return the series of which there are whole files; what is damaged beyond that may belong to any of them."""
    known = {uid: scan for uid, scan in scans.items() if scan.parts}
    nameless = nameless + [path for uid, scan in scans.items() if uid not in known for path in scan.damaged]
    if nameless and not known:
        known = {"": _Scan()}
    return [scan.series(uid, nameless) for uid, scan in sorted(known.items())]


class _Scan:
    """The files found of one series."""

    def __init__(self) -> None:
        self.modality = ""
        self.description = ""
        self.parts: list[DicomFile] = []
        self.damaged: list[str] = []

    def add(self, path: str, header: Header) -> None:
        self.modality = self.modality or text(header.dataset, "Modality")
        self.description = self.description or text(header.dataset, "SeriesDescription")
        self.parts.append(_part(path, header))

    def series(self, uid: str, nameless: Sequence[str]) -> DicomSeries:
        return DicomSeries(uid, self.modality, self.description, tuple(self.parts), (*self.damaged, *nameless))


def _part(path: str, header: Header) -> DicomFile:
    """Return a file's header; raises FileError if it is damaged or has fewer pixels than it declares."""
    dataset = header.dataset
    if not (header.has_pixels and header.complete):
        raise cut_off(path)
    check_size(path, dataset)
    count = whole(dataset, "NumberOfFrames", 1)
    colors = whole(dataset, "SamplesPerPixel", 1) > 1 or "PALETTE" in text(dataset, "PhotometricInterpretation")
    return DicomFile(
        path,
        sop_class(dataset),
        text(dataset, "SOPInstanceUID"),
        text(dataset, "PatientID"),
        text(dataset, "FrameOfReferenceUID"),
        "LOCALIZER" in text(dataset, "ImageType").upper(),
        colors,
        count,
        single_frame(dataset, path, header.offset) if count == 1 and dataset.get("ImagePositionPatient") else None,
    )


def open_series(path: PathLike, uid: str = "") -> DicomSeries | None:
    """Return the DICOM scan of a folder or file; None if it has no DICOM at all.

    Parameters
    ----------
    path : path
        A folder with the files of one or several series, or a file.
    uid : str
        Which series of a folder; needed if it has several.

    Raises
    ------
    FileError
        If there are several series, or not the one that was asked for, or the file is damaged.
    VolumeError
        If there are DICOM files, but no image among them.
    """
    path = check_readable(path)
    if not path.is_dir():
        series = series_of_files([path])
        return series if series is None or not uid else choose_series(path, [series], uid)
    found, others = _scan(path)
    if found:
        return choose_series(path, found, uid)
    if others:
        file, (name, hint) = next(iter(others.items()))
        raise VolumeError(f"The folder {path} has no DICOM image: {shown(file)} is {name}.", hint)
    return None


def series_of_files(files: Sequence[PathLike]) -> DicomSeries | None:
    """Return files as one series, in whatever order they are; None if not all of them are DICOM.

    Raises
    ------
    FileError
        If they are of several series, or one is damaged.
    VolumeError
        If one is no image.
    """
    scan, uids = _Scan(), dict[str, str]()
    for file in files:
        path = os.fspath(file)
        header = read_header(path, _TAGS) if os.path.isfile(path) else None
        if header is None:
            return None
        with reading_dicom(path):
            kind = no_image(header.dataset, has_pixels=header.has_pixels)
            if kind is not None:
                raise VolumeError(f"{shown(path)} is {kind[0]}, not an image.", kind[1])
            scan.add(path, header)
            uids.setdefault(text(header.dataset, "SeriesInstanceUID"), path)
    if len(uids) > 1:
        one, other = [shown(path) for path in uids.values()][:2]
        raise FileError(f"The files are of {len(uids)} DICOM series: {one} and {other}.", "Choose those of one series.")
    return scan.series(next(iter(uids), ""), [])


def choose_series(folder: PathLike, series: Sequence[DicomSeries], uid: str = "") -> DicomSeries:
    """Return the series with the UID, or the only one; raises FileError, listing them, where that is not clear."""
    if uid:
        for one in series:
            if one.uid == uid:
                return one
        raise FileError(f"{_place(folder)} has no DICOM series {uid}.", f"It has {_listing(series)}")
    if len(series) != 1:
        raise FileError(
            f"{_place(folder)} has {len(series)} DICOM series.",
            f"Choose one by UID (--series on the command line): {_listing(series)}",
        )
    return series[0]


def _place(path: PathLike) -> str:
    return f"The {'folder' if Path(path).is_dir() else 'file'} {path}"


def _listing(series: Sequence[DicomSeries]) -> str:
    """Name series, the largest first."""
    return "; ".join(_in_words(one) for one in sorted(series, key=lambda one: -one.count)) + "."


def _in_words(series: DicomSeries) -> str:
    files, slices = len(series.files), series.count
    size = f"{files} file{'s' * (files != 1)}{f' with {slices} slices' if slices != files else ''}"
    scout = ", a localizer" if series.localizer else ""
    return f"{series.uid} ({series.modality} {series.description or 'without description'}, {size}{scout})"


def check_stack(series: DicomSeries) -> Stack:
    """Return the slices of a series in order and their grid, from the headers alone; raises as `read_series`."""
    for file in series.damaged:
        raise FileError(
            f"The DICOM file {shown(file)} is damaged: it cannot be read, or ends before its image is complete.",
            "Copy, download or export it again; if it does not belong to the scan, move it out of the folder.",
        )
    for part in series.parts:
        if part.color:
            raise color_image(part.path)
    _check_one_scan(series)
    frames: list[Frame] = []
    for part in series.parts:
        frames += [part.frame] if part.frame is not None else _frames(part)
    return stack(frames)


def _check_one_scan(series: DicomSeries) -> None:
    """Refuse slices that cannot be of one scan, whatever their places say."""
    scouts = [part for part in series.parts if part.localizer]
    if scouts and not series.localizer:
        raise FileError(
            f"The series has a localizer (scout view) among its slices: {shown(scouts[0].path)}.",
            "Move it out of the folder, or choose another series.",
        )
    for name, words in (("patient", "patients"), ("frame_of_reference", "frames of reference")):
        values = {getattr(part, name): part.path for part in series.parts}
        if len(values) > 1:
            files = " and ".join(shown(path) for path in list(values.values())[:2])
            raise FileError(f"The series has {len(values)} {words}: {files}.", _MIXED)


def _frames(part: DicomFile) -> list[Frame]:
    header = read_header(part.path)
    if header is None:
        raise damaged(part.path)
    with reading_dicom(part.path):
        return frames_of(header.dataset, part.path, header.offset)


def read_series(series: DicomSeries, dtype: Any = None) -> tuple[np.ndarray, Geometry]:
    """Return a series as (1, Z, Y, X) and its grid; values are real ones (CT in HU), by each slice's own scaling.

    Parameters
    ----------
    series : DicomSeries
        Single slices, or multi-frame files.
    dtype : type
        Of the result; without it whole numbers if all values are, else float32.

    Raises
    ------
    FileError
        If a slice is missing, doubled, cut off, of another size or pixel spacing, or without a place, or the slices
        are uneven or tilted, or a multi-frame file does not say how far its frames are apart.
    VolumeError
        If it is in color or has several volumes.
    ResourceError
        If it does not fit into memory.
    """
    ordered = check_stack(series)
    try:
        return read_frames(ordered.frames, dtype), ordered.geometry
    except MemoryError as error:
        raise no_memory(series.files[0]) from error
