"""DICOM: scans as volumes; segmentations and structure sets as labels, read and written."""

from SparseSegLib.io.dicom.series import (
    DicomSeries,
    check_stack,
    choose_series,
    find_series,
    open_series,
    read_series,
    series_of_files,
)

__all__ = [
    "DicomSeries",
    "check_stack",
    "choose_series",
    "find_series",
    "open_series",
    "read_series",
    "series_of_files",
]
