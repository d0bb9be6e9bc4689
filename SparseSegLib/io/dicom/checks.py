"""Whether a DICOM folder is a CT that a radiotherapy target can be outlined on, and what is wrong if it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.io.dicom import DicomSeries, check_stack, open_series
from SparseSegLib.io.dicom.frames import Frame
from SparseSegLib.io.itk import check_readable

FEWEST_SLICES = 3


def check_series(folder: PathLike, modality: str = "CT", *, series_uid: str = "") -> DicomSeries:
    """Return the series of a folder if it is a whole, even stack of one patient's slices of the right kind.

    Only headers are read. What `read_volume` refuses is refused here too, in the same words.

    Parameters
    ----------
    folder : path
        The folder with the slices, or a multi-frame file.
    modality : str
        What the series must be; "" for anything.
    series_uid : str
        Which series of the folder; needed if it has several.

    Raises
    ------
    FileError
        If the folder has no or several series, or slices are missing, damaged, uneven, or of several patients.
    VolumeError
        If the series is of another modality, a localizer, too short, or has no calibrated (HU) values.
    """
    folder = check_readable(folder)
    series = open_series(folder, series_uid)
    if series is None:
        raise FileError(
            f"The {'folder' if folder.is_dir() else 'file'} {folder} has no DICOM images.",
            "Choose the folder that holds the slices.",
        )
    check_modality(series, modality)
    _check_kind(folder, series)
    frames = check_stack(series).frames
    if modality == "CT":
        _check_calibrated(frames)
    return series


def check_modality(series: DicomSeries, modality: str) -> None:
    """Raise VolumeError if a series is of another modality; "" stands for any."""
    if modality and series.modality != modality:
        raise VolumeError(
            f"The series is {series.modality or 'of an unknown modality'}, not {modality}"
            f"{f' ({series.description})' if series.description else ''}.",
            f"Choose a folder with the slices of a {modality} scan.",
        )


def _check_kind(folder: Path, series: DicomSeries) -> None:
    if series.localizer:
        raise VolumeError("The series is a localizer (scout view).", "Choose the series of the scan itself.")
    if series.count < FEWEST_SLICES and not series.damaged:
        raise VolumeError(
            f"The series has {series.count} slice(s) only.",
            f"Copy the whole scan into {folder}, or choose another series.",
        )


def _check_calibrated(frames: Sequence[Frame]) -> None:
    for frame in frames:
        if not frame.calibrated:
            raise VolumeError(
                f"The slice {frame.name} does not say how its values become HU.",
                "Export the original scan, not a copy that another program has changed.",
            )
