"""Reading and writing labelmaps of any format, with the names and colors of their segments where a file has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SparseSegLib.errors import AnnotationError, FileError, UsageError, VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.files.zarr_folder import is_zarr
from SparseSegLib.image import Geometry
from SparseSegLib.image.label_values import counts_in
from SparseSegLib.io.arrays import to_array
from SparseSegLib.io.dicom.labels import read_dicom_labels
from SparseSegLib.io.files import write_file
from SparseSegLib.io.headers import check_complete, open_header
from SparseSegLib.io.images import read_any
from SparseSegLib.io.itk import reading
from SparseSegLib.io.nrrd_header import read_nrrd_header
from SparseSegLib.io.ome_zarr import has_zarr_name, read_zarr, write_zarr, zarr_segments
from SparseSegLib.io.segmentation import (
    LARGEST_VALUE,
    SegmentInfo,
    default_segment,
    label_boxes,
    merge_layers,
    segment_metadata,
    segments_from_metadata,
)
from SparseSegLib.io.writable import check_writable

Labels = tuple[np.ndarray, Geometry, list[SegmentInfo]]

_TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64)


def read_labels(path: PathLike, reference: Geometry | None = None, *, series_uid: str = "") -> Labels:
    """Read a labelmap: .seg.nrrd, DICOM SEG or RTSTRUCT, or any format that `read_volume` reads.

    Parameters
    ----------
    path : path
        The file, or a folder; of an OME-Zarr image that holds labels, these are read.
    reference : Geometry
        The grid of the image, which structure sets (RTSTRUCT) need; a DICOM SEG on its voxels is put onto it.
    series_uid : str
        Which DICOM series of a folder to read; needed if it has several.

    Returns
    -------
    np.ndarray
        (Z, Y, X) integers, as the file has them; overlapping segments of a .seg.nrrd are merged into the values 1..n,
        the later layer over the earlier.
    Geometry
        The file's own grid. Slicer crops it to the segments: `geometry.place` puts it onto an image's grid.
    list of SegmentInfo
        The segments, empty ones included; for a file without names one for each value but 0 (255, which may
        mean unlabeled, included).

    Raises
    ------
    FileError
        If the file is missing, foreign or truncated.
    VolumeError
        If its voxels are no labels: several channels, or fractions.
    GeometryError
        If it is a structure set and there is no reference, or it was drawn on other slices.
    """
    path = Path(path)
    if path.name.lower().endswith((".nrrd", ".nhdr")):
        found = _read_nrrd(path)
        if found is not None:
            return found
    found = None if is_zarr(path) else read_dicom_labels(path, reference, series_uid=series_uid)
    if found is not None:
        return found
    array, geometry = read_zarr(path, labels=True) if is_zarr(path) else read_any(path, series_uid=series_uid)
    if len(array) != 1:
        raise VolumeError(
            f"The labels {path} have {len(array)} channels.", "Choose a labelmap, with one value per voxel."
        )
    labels = _integers(array[0], path)
    return labels, geometry, _with_unnamed(zarr_segments(path) if is_zarr(path) else [], labels)


def _read_nrrd(path: Path) -> Labels | None:
    """Return the segments of an NRRD file, or None if it does not describe any."""
    header = open_header(path)
    metadata = {key: text for key, text in read_nrrd_header(path).keys.items() if key.startswith("Segment")}
    if "Segmentation_Extent" in metadata:
        raise FileError(
            f"The segmentation {path} is in the format of 3D Slicer 4.10 and before.",
            "Open it in a newer 3D Slicer and save it again.",
        )
    if not any(key.startswith("Segmentation_") or key == "Segment0_ID" for key in metadata):
        return None
    try:
        stored = segments_from_metadata(metadata, header.GetNumberOfComponents())
    except ValueError as error:
        raise FileError(f"The segmentation {path} is damaged: {error}.", "Save it again in 3D Slicer.") from error
    check_complete(header)
    with reading(path):
        image = header.Execute()
        layers, geometry = to_array(image), Geometry.from_sitk(image)
    layers = _integers(layers, path)
    if len(layers) > 1:
        labels, segments = merge_layers(layers, stored)
        return labels, geometry, segments
    return layers[0], geometry, _with_unnamed([one.info for one in stored], layers[0])


def _with_unnamed(segments: list[SegmentInfo], labels: np.ndarray) -> list[SegmentInfo]:
    """Return the segments, and one for each further value that occurs."""
    named = {segment.value for segment in segments}
    return segments + [default_segment(value) for value in _values(labels) if value not in named]


def write_labels(array: np.ndarray, geometry: Geometry, path: PathLike, segments: Sequence[SegmentInfo] = ()) -> None:
    """Write a labelmap, whole or not at all, in the format of the suffix.

    Parameters
    ----------
    array : np.ndarray
        (Z, Y, X) integers or booleans; stored in the smallest type that holds them.
    geometry : Geometry
        Its grid.
    path : path
        As for `write_image`; .seg.nrrd becomes a segmentation in 3D Slicer. NRRD and OME-Zarr keep names and
        colors, others do not.
    segments : sequence of SegmentInfo
        The segments; without them, .seg.nrrd gets one for each value but 0.

    Raises
    ------
    UsageError
        If the suffix is unknown, two segments have one value, or a value of a .seg.nrrd has no segment (Slicer would
        not show it) or cannot be one of Slicer's.
    FileError, ResourceError
        If the file cannot be written, or the disk is full; an existing file is left as it was.
    """
    array = _smallest(array)
    name = Path(path).name.lower()
    if has_zarr_name(path):
        check_segments(path, segments)
        write_zarr(check_writable(path, geometry), array, geometry, segments)
        return
    if not name.endswith(".nrrd"):
        write_file(array, geometry, path)
        return
    metadata = {}
    if name.endswith(".seg.nrrd"):
        segments = segments or [default_segment(value) for value in _values(array)]
    check_segments(path, segments)
    if name.endswith(".seg.nrrd"):
        unnamed = sorted(set(_values(array)) - {segment.value for segment in segments})
        if unnamed:
            raise UsageError(
                f"Cannot write {path}: the values {unnamed} have no segment.", "Name them, or set them to 0."
            )
    if segments:
        metadata = segment_metadata(label_boxes(array), geometry, segments)
    write_file(array, geometry, path, metadata)


def check_drawn(array: np.ndarray, path: PathLike) -> None:
    """Raise AnnotationError if a labelmap is 0 everywhere: 3D Slicer saves one voxel where nothing is drawn."""
    if not array.any():
        raise AnnotationError(f"Nothing is drawn in {path}.", "Draw the structure on some slices, and save it again.")


def check_segments(path: PathLike, segments: Sequence[SegmentInfo]) -> None:
    """Raise UsageError if segments cannot be written: two have one value, or 3D Slicer would refuse a value."""
    values = [segment.value for segment in segments]
    if len(set(values)) < len(values):
        raise UsageError(f"Cannot write {path}: two segments have one value.", "Give each a value of its own.")
    wrong = [value for value in values if not 0 < value <= LARGEST_VALUE]
    if wrong and Path(path).name.lower().endswith(".seg.nrrd"):
        raise UsageError(
            f"Cannot write {path}: a segment in 3D Slicer cannot have the value {wrong[0]}.",
            "Number them from 1, or choose .nrrd.",
        )


def _values(labels: np.ndarray) -> list[int]:
    """Return the values but 0 of a labelmap, sorted."""
    values = np.flatnonzero(counts_in(labels)) if labels.dtype == np.uint8 else np.unique(labels)
    return [int(value) for value in values if value]


def _integers(labels: np.ndarray, path: Path) -> np.ndarray:
    """Return the labels as integers: those that a file keeps as floating point numbers become the smallest type."""
    if labels.dtype.kind in "iu":
        return labels
    if not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
        raise VolumeError(
            f"The labels {path} are not whole numbers.",
            "Choose a labelmap; a probability map must be thresholded first.",
        )
    return _smallest(labels)


def _smallest(labels: np.ndarray) -> np.ndarray:
    """Return the labels in the smallest integer type that holds them."""
    if labels.dtype in (np.uint8, bool):
        return labels.astype(np.uint8, copy=False)
    low, high = labels.min(), labels.max()
    for dtype in _TYPES:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return labels.astype(dtype)
    raise UsageError("The labels are too large for an image file.", "Number them from 1.")
