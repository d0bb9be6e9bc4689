"""Whether a DICOM folder is a CT that a radiotherapy target can be outlined on, and what is wrong if it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from SparseSegLib.atomic import PathLike
from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.io.dicom import DicomSeries, check_no_slice_damaged, check_stack, choose_series, find_series
from SparseSegLib.io.headers import open_header
from SparseSegLib.io.itk import check_readable

FEWEST_SLICES = 3

_ONE_OF_ITS_KIND = {
    "0010|0020": ("patients", "It mixes scans: export the patient's scan again, into an empty folder."),
    "0020|0052": ("frames of reference", "It mixes scans: export the scan again, into an empty folder."),
    "0028|0030": ("pixel spacings", "Move the slices that do not belong to the scan out of the folder."),
}


def check_series(folder: PathLike, modality: str = "CT", *, series_uid: str = "") -> DicomSeries:
    """Return the series of a folder if it is a whole, even stack of one patient's slices of the right kind.

    Only headers are read. What `read_volume` refuses is refused here too, in the same words.

    Parameters
    ----------
    folder : path
        The folder with the slices.
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
    if not folder.is_dir():
        raise FileError(f"{folder} is no folder.", "Choose the folder that holds the slices.")
    found = find_series(folder)
    if not found:
        raise FileError(f"The folder {folder} has no DICOM images.", "Choose the folder that holds the slices.")
    series = choose_series(folder, found, series_uid)
    headers = [open_header(file) for file in series.files]
    check_modality(series, modality)
    _check_kind(folder, headers)
    _check_one_scan(headers)
    check_no_slice_damaged(folder, series)
    if len(headers) > 1:
        check_stack(series)
    if modality == "CT":
        _check_calibrated(headers)
    return series


def check_modality(series: DicomSeries, modality: str) -> None:
    """Raise VolumeError if a series is of another modality; "" stands for any."""
    if modality and series.modality != modality:
        raise VolumeError(
            f"The series is {series.modality or 'of an unknown modality'}, not {modality}"
            f"{f' ({series.description})' if series.description else ''}.",
            f"Choose a folder with the slices of a {modality} scan.",
        )


def _check_kind(folder: Path, headers: Sequence[sitk.ImageFileReader]) -> None:
    frames = len(headers) if len(headers) > 1 else (headers[0].GetSize()[2:] or (1,))[0]
    if any("LOCALIZER" in _value(header, "0008|0008").upper() for header in headers):
        raise VolumeError("The series is a localizer (scout view).", "Choose the series of the scan itself.")
    if frames < FEWEST_SLICES:
        raise VolumeError(
            f"The series has {frames} slice(s) only.", f"Copy the whole scan into {folder}, or choose another series."
        )


def _check_one_scan(headers: Sequence[sitk.ImageFileReader]) -> None:
    for key, (what, hint) in _ONE_OF_ITS_KIND.items():
        values = {_value(header, key): Path(header.GetFileName()).name for header in headers}
        if len(values) > 1:
            raise FileError(f"The series has {len(values)} {what}: {' and '.join(list(values.values())[:2])}.", hint)


def _check_calibrated(headers: Sequence[sitk.ImageFileReader]) -> None:
    for header in headers:
        if len(header.GetSize()) == 2 and not header.HasMetaDataKey("0028|1052"):
            raise VolumeError(
                f"The slice {Path(header.GetFileName()).name} does not say how its values become HU.",
                "Export the original scan, not a copy that another program has changed.",
            )


def _value(header: sitk.ImageFileReader, key: str) -> str:
    return header.GetMetaData(key).strip() if header.HasMetaDataKey(key) else ""
