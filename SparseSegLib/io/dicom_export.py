"""Results as DICOM, beside the scan that they belong to: segmentation objects and structure sets."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from SparseSegLib import __version__
from SparseSegLib.atomic import PathLike, atomic_path
from SparseSegLib.errors import AnnotationError, DependencyError, FileError, GeometryError, UsageError
from SparseSegLib.geometry import Geometry, place
from SparseSegLib.io.dicom import check_stack, read_series
from SparseSegLib.io.dicom_checks import check_series
from SparseSegLib.io.labels import read_labels
from SparseSegLib.io.rtstruct import structure_set
from SparseSegLib.io.segmentation import SegmentInfo

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Format = Literal["seg", "rtstruct"]

_NEEDED = {"seg": ("pydicom", "highdicom"), "rtstruct": ("pydicom",)}
_REFERRED_TO = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_OFF = 0.05  # of a voxel: what rounding in headers explains
_TISSUE = ("85756007", "SCT", "Tissue")  # what Slicer too calls a segment that nobody said more about


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
        The folder with the scan's slices.
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
    labels, grid, segments = read_labels(result)
    series = check_series(folder, "", series_uid=series_uid)
    if len(series.files) == 1:
        raise UsageError("The scan is one multi-frame file, and results refer to single slices.", "Save it as .nrrd.")
    _, geometry = read_series(series)
    if not _has_same_voxels(grid, geometry):
        raise GeometryError(
            f"The labels do not lie on the scan's grid: {grid.difference(geometry)}.",
            "Choose the scan that was segmented.",
        )
    labels = place(labels, grid, geometry)
    segments = [segment for segment in segments if (labels == segment.value).any()]
    if not segments:
        raise AnnotationError(f"Nothing is segmented in {result}.", "Choose another result.")
    stack = check_stack(series)
    slices = _headers(stack.files, stack.step)
    title = Path(result).name.split(".")[0]
    if kind == "seg":
        dataset = _segmentation_object(labels, segments, slices, title)
    else:
        dataset = structure_set(labels, geometry, segments, slices, title)
    with atomic_path(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
    return segments


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
            f"Install it with: pip install {' '.join(missing)}",
        )
    if path.suffix.lower() != ".dcm":
        raise UsageError(f"{path} is no DICOM file.", "Choose a name that ends in .dcm.")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already.", "Choose another name, or add --overwrite.")
    return path


def _headers(files: Sequence[str], step: float) -> list[Dataset]:
    """Return the slices' headers, with what references to them need and anonymized scans may lack.

    Kind and name of a slice then are those of its file, and its thickness is the distance of the slices (mm).
    """
    import pydicom

    slices: list[Dataset] = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    for one in slices:
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
    return slices


def _segmentation_object(
    labels: np.ndarray, segments: Sequence[SegmentInfo], slices: Sequence[Dataset], title: str
) -> Any:
    """Return labels (Z, Y, X) as a DICOM SEG with a binary segment for each structure."""
    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    tissue = highdicom.sr.CodedConcept(*_TISSUE)
    made_by = highdicom.AlgorithmIdentificationSequence(
        name="SparseSeg", version=__version__, family=codes.cid7162.ArtificialIntelligence
    )
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=segment.name[:64],
            segmented_property_category=tissue,
            segmented_property_type=tissue,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=made_by,
            display_color=highdicom.color.CIELabColor.from_rgb(*(round(255 * part) for part in segment.color)),
        )
        for number, segment in enumerate(segments, start=1)
    ]
    numbered = np.zeros(labels.shape, np.uint8 if len(segments) < 256 else np.uint16)
    for number, segment in enumerate(segments, start=1):
        numbered[labels == segment.value] = number
    return highdicom.seg.Segmentation(
        source_images=list(slices),
        pixel_array=numbered,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="SparseSeg",
        manufacturer_model_name="SparseSeg",
        software_versions=__version__,
        device_serial_number="0",
        series_description=title[:64],
    )
