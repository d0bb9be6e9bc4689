"""Results as DICOM, beside the scan that they belong to: segmentation objects and structure sets."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from SparseSegLib.errors import (
    AnnotationError,
    DependencyError,
    FileError,
    GeometryError,
    SparseSegError,
    UsageError,
)
from SparseSegLib.files import PathLike, atomic_path
from SparseSegLib.image import Geometry, place
from SparseSegLib.io.dicom import check_stack
from SparseSegLib.io.dicom.checks import check_series
from SparseSegLib.io.dicom.reading import damaged, quiet_pydicom, read_header
from SparseSegLib.io.dicom.rtstruct_writing import structure_set
from SparseSegLib.io.dicom.seg_writing import segmentation_object
from SparseSegLib.io.dicom.stack import Stack
from SparseSegLib.io.labels import read_labels
from SparseSegLib.io.segmentation import SegmentInfo

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Format = Literal["seg", "rtstruct"]

_NEEDED = {"seg": ("pydicom", "highdicom"), "rtstruct": ("pydicom",)}
_REFERRED_TO = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_EMPTY_IF_UNKNOWN = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
_OFF = 0.05  # of a voxel: what rounding in headers explains


def export_dicom(
    result: PathLike,
    folder: PathLike,
    output: PathLike,
    kind: Format,
    *,
    series_uid: str = "",
    overwrite: bool = False,
) -> list[SegmentInfo]:
    """Write a segmentation as DICOM that refers to the slices of its scan; whole or not at all.

    Parameters
    ----------
    result : path
        Labels in any format that `read_labels` reads, on the scan's voxels: its axes may run otherwise, and it may be
        cut to its segments as Slicer does.
    folder : path
        The folder with the scan's slices, or with its one multi-frame file, or that file.
    output : path
        The file to write, .dcm.
    kind : str
        "seg" (segmentation object, voxel by voxel) or "rtstruct" (outlines on each slice, for radiotherapy).
    series_uid : str
        Which series of the folder; needed if it has several.
    overwrite : bool
        Replace a file that is there already.

    Returns
    -------
    list of SegmentInfo
        The segments that were written; those without any voxel are left out.

    Raises
    ------
    DependencyError
        If pydicom, or for "seg" highdicom, is not installed.
    UsageError
        If the output is no .dcm file, or is there already.
    FileError, VolumeError
        If the scan is not whole, see `check_series`.
    GeometryError
        If the labels do not lie on the scan's grid.
    AnnotationError
        If nothing is segmented.
    """
    path = _check_output(Path(output), kind, overwrite=overwrite)
    series = check_series(folder, "", series_uid=series_uid)
    scan = check_stack(series)
    labels, grid, segments = read_labels(result, scan.geometry)
    if not _has_same_voxels(grid, scan.geometry):
        raise GeometryError(
            f"The labels do not lie on the scan's grid: {grid.difference(scan.geometry)}.",
            "Choose the scan that was segmented.",
        )
    labels = place(labels, grid, scan.geometry)
    segments = [segment for segment in segments if (labels == segment.value).any()]
    if not segments:
        raise AnnotationError(f"Nothing is segmented in {result}.", "Choose another result.")
    title = Path(result).name.split(".")[0]
    with _making(kind):
        dataset = _dataset(labels, segments, scan, kind, title)
        with atomic_path(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    return segments


@contextlib.contextmanager
def _making(kind: Format) -> Iterator[None]:
    """Turn what pydicom and highdicom raise about a scan that they cannot refer to into FileError."""
    try:
        with quiet_pydicom():
            yield
    except (SparseSegError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever a scan's header lacks
        raise FileError(
            f"The result cannot be written as DICOM {kind.upper()}: {error}.",
            "Export the original scan again, with all its tags; or save the result as .seg.nrrd.",
        ) from error


def _dataset(labels: np.ndarray, segments: list[SegmentInfo], scan: Stack, kind: Format, title: str) -> Dataset:
    files = set(scan.files)
    frames = [frame.index for frame in scan.frames] if len(files) == 1 else None
    headers = [_header(file, scan.step) for file in (scan.files if frames is None else scan.files[:1])]
    if len(files) < len(scan.files) and (frames is None or not headers[0].get("PerFrameFunctionalGroupsSequence")):
        raise UsageError(
            "The scan is multi-frame DICOM of a kind whose frames results cannot refer to.", "Save it as .seg.nrrd."
        )
    if kind == "rtstruct":
        slices = headers if frames is None else headers * len(frames)
        return structure_set(labels, scan.geometry, segments, slices, title, frames)
    in_order = labels if frames is None else labels[np.argsort(frames)]
    return segmentation_object(in_order, segments, headers, title)


def _has_same_voxels(grid: Geometry, scan: Geometry) -> bool:
    """Return whether the voxels of a grid, however its axes run, are voxels of the scan or lie beyond it."""
    size = np.array(grid.shape)
    corners = scan.physical_to_index(grid.index_to_physical(np.vstack([np.zeros(3), np.diag(size)])))
    axes = np.rint((corners[1:] - corners[0]) / size[:, None])
    turned = (np.abs(axes).sum(0) == 1).all() and (np.abs(axes).sum(1) == 1).all()
    exact = np.vstack([np.rint(corners[0]), np.rint(corners[0]) + axes * size[:, None]])
    return bool(turned and np.abs(corners - exact).max() <= _OFF)


def _check_output(path: Path, kind: str, *, overwrite: bool) -> Path:
    if kind not in _NEEDED:
        raise UsageError(f"There is no format called {kind}.", "Use seg or rtstruct.")
    missing = [package for package in _NEEDED[kind] if importlib.util.find_spec(package) is None]
    if missing:
        raise DependencyError(
            f"Writing DICOM {kind.upper()} needs {' and '.join(missing)}.",
            f"Install what is missing with: pip install {' '.join(missing)}",
        )
    if path.suffix.lower() != ".dcm":
        raise UsageError(f"{path} is no DICOM file.", "Choose a name that ends in .dcm.")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already.", "Choose another name, or add --overwrite.")
    return path


def _header(file: str, step: float) -> Dataset:
    """Return the header of a slice or multi-frame file, with what references need and anonymized scans may lack.

    Its kind and name then are those of its file, and its thickness is the distance of the slices (mm).
    """
    from pydicom.uid import generate_uid

    header = read_header(file)
    if header is None:
        raise damaged(file)
    one = header.dataset
    one.decode()
    one.SOPClassUID = one.get("SOPClassUID") or one.file_meta.get("MediaStorageSOPClassUID", "")
    one.SOPInstanceUID = one.get("SOPInstanceUID") or one.file_meta.get("MediaStorageSOPInstanceUID", "")
    if one.get("SliceThickness") is None:
        one.SliceThickness = step
    for name in _REFERRED_TO:
        if not one.get(name):
            raise FileError(
                f"The slices of the scan have no {name}, which DICOM results refer to.",
                "Export the original scan, not a copy without its identifiers.",
            )
    for name in _EMPTY_IF_UNKNOWN:
        if name not in one:
            setattr(one, name, "")
    if not one.get("FrameOfReferenceUID"):
        one.FrameOfReferenceUID = generate_uid(entropy_srcs=[one.SeriesInstanceUID])
    return one
