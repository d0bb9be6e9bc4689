"""DICOM files of labels: segmentation objects (SEG) and structure sets (RTSTRUCT), in files or folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SparseSegLib.errors import FileError
from SparseSegLib.files import PathLike
from SparseSegLib.image import Geometry
from SparseSegLib.io.dicom.kinds import SEGMENTATIONS, STRUCTURE_SET
from SparseSegLib.io.dicom.reading import read_dataset, read_header, reading_dicom, shown
from SparseSegLib.io.dicom.rtstruct_reading import read_structure_set
from SparseSegLib.io.dicom.seg import read_segmentation
from SparseSegLib.io.dicom.values import sop_class, text
from SparseSegLib.io.segmentation import SegmentInfo

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Labels = tuple[np.ndarray, Geometry, list[SegmentInfo]]

_TAGS = ("SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "Modality")


def read_dicom_labels(path: PathLike, reference: Geometry | None = None, *, series_uid: str = "") -> Labels | None:
    """Return the segments of a DICOM SEG or RTSTRUCT, a file or the one that a folder holds; None if there is none.

    Parameters
    ----------
    path : path
        A file, or a folder.
    reference : Geometry
        The scan's grid. A structure set has outlines alone and needs it; a SEG on its voxels is put onto it, so that
        frames which were left out because they are empty are there again.
    series_uid : str
        Which series of a folder with several.

    Returns
    -------
    np.ndarray
        (Z, Y, X): the segments have the values 1..n in their order; where they overlap the later one wins.
    Geometry
        The reference, or for a SEG that is not on its voxels its own grid.
    list of SegmentInfo
        The segments with names, colors and terminology, empty ones included.

    Raises
    ------
    FileError
        If the file is damaged, or there are several in the folder.
    VolumeError
        If a SEG is fractional or has no places.
    GeometryError
        If a structure set has no reference, or its outlines do not lie on the slices of it.
    """
    found = _find(Path(path), series_uid)
    if found is None:
        return None
    dataset = read_dataset(found)
    with reading_dicom(found):
        if _kind(dataset) == STRUCTURE_SET:
            return read_structure_set(dataset, found, reference)
        return read_segmentation(dataset, found, reference)


def _find(path: Path, uid: str) -> str | None:
    """Return the file of labels at a path; raises FileError if a folder has several."""
    if not path.is_dir():
        return os.fspath(path) if path.is_file() and _labels_of(os.fspath(path)) is not None else None
    found: dict[str, str] = {}
    for file in sorted(entry.path for entry in os.scandir(path) if entry.is_file()):
        header = _labels_of(file)
        if header is not None and uid in ("", text(header, "SeriesInstanceUID")):
            found[file] = f"{text(header, 'SeriesInstanceUID')} ({shown(file)})"
    if len(found) > 1:
        raise FileError(
            f"The folder {path} has {len(found)} DICOM segmentations or structure sets.",
            f"Choose one of the files, or one by UID: {'; '.join(found.values())}.",
        )
    return next(iter(found), None)


def _labels_of(file: str) -> Dataset | None:
    """Return the header of a file if it is one of labels; what cannot be read is reported where images are read."""
    try:
        header = read_header(file, _TAGS)
        if header is None:
            return None
        with reading_dicom(file):
            return header.dataset if _kind(header.dataset) else None
    except FileError:
        return None


def _kind(dataset: Dataset) -> str:
    """Return the UID of the kind of labels that a file has, "" for another file."""
    uid, modality = sop_class(dataset), text(dataset, "Modality")
    if uid in (*SEGMENTATIONS, STRUCTURE_SET):
        return uid
    if uid:
        return ""
    return {"SEG": SEGMENTATIONS[0], "RTSTRUCT": STRUCTURE_SET}.get(modality, "")
