"""Descriptions of files and folders: ``sparseseg info FILE…``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.annotation import UNLABELED, read_sparse_labels
from SparseSegLib.annotation.describe import plane_rows
from SparseSegLib.errors import SparseSegError, VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.files.zarr_folder import is_image, is_zarr
from SparseSegLib.image import Geometry, check_volume, to_ras
from SparseSegLib.io.dicom import DicomSeries, find_series
from SparseSegLib.io.dicom.reading import read_header
from SparseSegLib.io.dicom.values import text
from SparseSegLib.io.folders import IMAGE_ENDINGS
from SparseSegLib.io.guess import looks_like_labels
from SparseSegLib.io.headers import open_header
from SparseSegLib.io.images import read_any, read_volume
from SparseSegLib.io.information import read_information
from SparseSegLib.io.itk import check_readable
from SparseSegLib.io.labels import read_labels
from SparseSegLib.io.ome_zarr import is_label_image
from SparseSegLib.io.slices import slice_files

VOLUME, LABELS = "volume", "labels"
SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr")
LABEL_MODALITIES = ("SEG", "RTSTRUCT")
KEYS = ("kind", "size", "spacing_mm", "origin_ras_mm", "direction_ras", "channels", "dtype", "range")
TAGS = ("SeriesInstanceUID", "SeriesDescription", "Modality")
_MAGIC = slice(128, 132)


def _raised(error: Exception) -> SparseSegError:
    raise error


def describe(
    path: PathLike,
    *,
    as_labels: bool = False,
    series_uid: str = "",
    as_error: Callable[[Exception], SparseSegError] = _raised,
) -> list[dict[str, Any]]:
    """Return what a file or folder is: one object a file, or a DICOM series.

    Parameters
    ----------
    path : path
        A file, a folder with DICOM series or 2D slices, or a folder of such files.
    as_labels : bool
        Take images for labels; otherwise segmentations, and whole numbers that look like it, are.
    series_uid : str
        Only this series of a DICOM folder.
    as_error : callable
        Turns an unexpected error into one to report, so that it hides no other file; by default it is raised.

    Returns
    -------
    list of dict
        ``file``; ``kind`` ("volume", "labels", or None for what is neither); ``size`` [x, y, z] in voxels;
        ``spacing_mm`` [x, y, z]; ``origin_ras_mm``, the center of the first voxel (R, A, S); ``direction_ras``, three
        rows R, A, S whose columns are the directions of the image axes x, y, z; ``channels``; ``dtype`` of the voxels
        as they are read; ``range`` [lowest, highest]; for labels ``values`` (those that occur, without 0 for background
        and 255 for unlabeled), ``names`` of these and ``annotated_slices`` (see `plane_rows`); for DICOM ``series``
        (``uid``, ``description``, ``modality``, ``count`` of files). ``problems`` lists in words what commands refuse,
        and is empty for what is good; ``unreadable`` is the exit code of what cannot be read at all, else 0.
    """
    path = Path(path)
    try:
        check_readable(path)
        series = find_series(path) if path.is_dir() else []
        if series:
            chosen = [one for one in series if series_uid in ("", one.uid)]
            return [_Description(path, as_labels, one).made() for one in chosen]
        files = _images_in(path) if path.is_dir() and not slice_files(path) else []
        if not files:
            return [_Description(path, as_labels).made()]
    except Exception as error:
        return [unreadable(path, error if isinstance(error, SparseSegError) else as_error(error))]
    return [one for file in files for one in describe(file, as_labels=as_labels, as_error=as_error)]


def unreadable(path: PathLike, error: SparseSegError) -> dict[str, Any]:
    """Return the description of a file that cannot be read."""
    values = {"file": str(path), **dict.fromkeys(KEYS)}
    return {**values, "problems": [str(error)], "unreadable": error.exit_code}


def _images_in(folder: Path) -> list[Path]:
    """The images of a folder of cases, in order."""
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and is_image(path)]
    named = [path for path in files if path.name.lower().endswith(IMAGE_ENDINGS)]
    return [path for path in named if path.is_dir() or not _is_dicom(path)]


class _Description:
    """Describes one file or series."""

    def __init__(self, path: Path, as_labels: bool, series: DicomSeries | None = None) -> None:
        self.path = path
        self.as_labels = as_labels
        self.uid = series.uid if series else ""
        self.problems: list[str] = []
        self.values: dict[str, Any] = {"file": str(path), **dict.fromkeys(KEYS)}
        if series:
            count = len(series.files)
            self._series(series.uid, series.description, series.modality, count)

    def _series(self, uid: str, description: str, modality: str, count: int) -> None:
        self.values["kind"] = LABELS if modality in LABEL_MODALITIES else VOLUME
        self.values["series"] = {"uid": uid, "description": description, "modality": modality, "count": count}

    def made(self) -> dict[str, Any]:
        """The whole description."""
        header = self.path if self.path.is_file() and _is_dicom(self.path) else None
        modality = self._dicom_file(header) if header is not None else ""
        read = self._labels if modality in LABEL_MODALITIES else self._image
        error = self._try(read)
        self.values |= {"problems": list(dict.fromkeys(self.problems)), "unreadable": error.exit_code if error else 0}
        return self.values

    def _try(self, read: Callable[[], None]) -> SparseSegError | None:
        """Run one of the readers; what it raises is a problem."""
        try:
            read()
        except SparseSegError as error:
            self.problems.append(str(error))
            return error
        return None

    def _dicom_file(self, file: Path) -> str:
        """Note the series of a single DICOM file; its modality."""
        try:
            header = read_header(file, TAGS)
        except SparseSegError:
            return ""  # reading reports what is wrong with it
        uid, description, modality = ("", "", "") if header is None else (text(header.dataset, tag) for tag in TAGS)
        self._series(uid, description, modality, 1)
        return modality

    def _image(self) -> None:
        self._header()
        if self.as_labels or self._is_segmentation() or self._look():
            self._labels()
        else:
            self._try(lambda: check_volume(read_volume(self.path, series_uid=self.uid)))

    def _look(self) -> bool:
        """Note what the voxels are; whether they look like labels."""
        array, geometry = read_any(self.path, series_uid=self.uid)
        self._grid(geometry)
        self.values |= {"channels": array.shape[0], "dtype": array.dtype.name, "range": _range(array), "kind": VOLUME}
        return looks_like_labels(array)

    def _header(self) -> None:
        """Describe the header alone, for files whose voxels cannot be read."""
        try:
            header = read_information(self.path, series_uid=self.uid)
        except VolumeError:
            self.values["kind"] = VOLUME  # reading reports what is wrong with it
            return
        except SparseSegError:
            return
        self.values |= {
            "kind": VOLUME,
            "size": list(header.shape[::-1]),
            "spacing_mm": [float(one) for one in header.spacing[::-1]],
            "channels": header.channels,
            "dtype": _dtype(header.voxel_type),
        }

    def _grid(self, geometry: Geometry) -> None:
        rows = np.asarray(geometry.direction).reshape(3, 3) * [[-1.0], [-1.0], [1.0]] + 0.0
        self.values |= {
            "size": list(geometry.shape[::-1]),
            "spacing_mm": list(geometry.spacing[::-1]),
            "origin_ras_mm": to_ras(geometry.origin),
            "direction_ras": rows.tolist(),
        }

    def _is_segmentation(self) -> bool:
        if self.path.name.lower().endswith(SEGMENTATIONS):
            return True
        if is_zarr(self.path):
            return is_label_image(self.path)
        if self.path.is_dir() or not self.path.name.lower().endswith((".nrrd", ".nhdr")):
            return False
        return any(key.startswith("Segment") for key in open_header(self.path).GetMetaDataKeys())

    def _labels(self) -> None:
        self.values |= {"kind": LABELS, "values": [], "names": [], "annotated_slices": []}
        array, geometry, segments = read_labels(self.path, series_uid=self.uid)
        self._grid(geometry)
        occurring = [int(value) for value in np.unique(array) if value not in (0, UNLABELED)]
        names = {segment.value: segment.name for segment in segments}
        self.values |= {
            "values": occurring,
            "names": [names.get(value, f"Segment_{value}") for value in occurring],
            "channels": 1,
            "dtype": self.values["dtype"] or array.dtype.name,
            "range": _range(array),
        }
        try:
            self._annotation()
        except SparseSegError as error:
            self.problems.append(f"As a sparse annotation: {error}")

    def _annotation(self) -> None:
        labels = read_sparse_labels(self.path, series_uid=self.uid)
        self.values["annotated_slices"] = plane_rows(labels)
        labels.validate()


def _range(array: np.ndarray) -> list[int | float] | None:
    """The lowest and highest value; numbers only, None if there is none."""
    if array.dtype.kind in "iu":
        return [int(array.min()), int(array.max())]
    finite = array[np.isfinite(array)]
    return [float(finite.min()), float(finite.max())] if finite.size else None


def _dtype(voxel_type: str) -> str:
    """SimpleITK's name of a voxel type as numpy has it: "16-bit signed integer" is int16."""
    words = voxel_type.removeprefix("vector of ").split()
    if len(words) == 3 and words[2] == "integer":
        return f"{'u' if words[1] == 'unsigned' else ''}int{words[0].removesuffix('-bit')}"
    if len(words) == 2 and words[1] == "float":
        return f"float{words[0].removesuffix('-bit')}"
    return voxel_type


def _is_dicom(file: Path) -> bool:
    try:
        with open(file, "rb") as stream:
            return stream.read(_MAGIC.stop)[_MAGIC] == b"DICM"
    except OSError:
        return False
