"""Segmentations as files: for Slicer, for other programs, and as DICOM for the systems that their scan came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer

from SparseSegLib.errors import AnnotationError, DependencyError, FileError, UsageError
from SparseSegLib.files import atomic_path
from SparseSegLib.image import Geometry
from SparseSegLib.io import SegmentInfo, write_labels
from SparseSegModule.dependencies import missingPackages
from SparseSegModule.dicomScan import gather, scanFiles, seriesUid
from SparseSegModule.exportFormats import ExportFormat
from SparseSegModule.names import fileName
from SparseSegModule.results import inputOf
from SparseSegModule.segmentLabels import classLabels
from SparseSegModule.segments import SegmentStyle, segmentStyles
from SparseSegModule.temporary import temporaryFolder
from SparseSegModule.volumes import volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


@dataclass(frozen=True)
class Scan:
    """A volume's DICOM files: the files themselves, or a folder with the series."""

    files: tuple[Path, ...]
    folder: Path | None
    seriesUid: str

    @classmethod
    def of(cls, volumeNode: vtkMRMLScalarVolumeNode, folder: Path | None = None) -> Scan:
        """The scan in a folder, or where none is given, in Slicer's DICOM database; FileError if it is not there."""
        if folder is not None:
            return cls((), folder, seriesUid(volumeNode))
        files = scanFiles(volumeNode)
        if not files:
            raise FileError(
                f"The DICOM files of {volumeNode.GetName()} are not in Slicer's DICOM database.",
                "Choose the folder that holds the slices of the scan.",
            )
        return cls(tuple(files), None, "")


def prepareExport(
    segmentationNode: vtkMRMLSegmentationNode,
    path: Path,
    kind: ExportFormat,
    volumeNode: vtkMRMLScalarVolumeNode | None = None,
    dicomFolder: Path | None = None,
    *,
    overwrite: bool = False,
) -> Callable[[], Path]:
    """Take out of the nodes what is to be written; the function that writes it and returns the path, for any thread.

    A .seg.nrrd is written at once, since Slicer does it: with overlaps and terminology, in the node's own coordinates.
    All else lies on the volume's grid, in the volume's own coordinates, as the files that it was loaded from do.

    Raises
    ------
    UsageError
        If the file is there already, has another suffix than the format, or the volume is not in the scene.
    AnnotationError
        If nothing is segmented, and the file is no .seg.nrrd.
    DependencyError
        If a Python package is missing.
    FileError
        If the scan's files are not found.
    """
    _check(path, kind, overwrite=overwrite)
    if kind is ExportFormat.SEG_NRRD:
        _writeAsSlicerDoes(segmentationNode, path)
        return lambda: path
    volumeNode = volumeNode or inputOf(segmentationNode)
    if volumeNode is None:
        raise UsageError(f"The volume of {segmentationNode.GetName()} is not in the scene.", "Say which it is.")
    labels = classLabels(segmentationNode, volumeNode)
    if not labels.labels.any():
        raise AnnotationError(f"Nothing is segmented in {segmentationNode.GetName()}.", "Choose another one.")
    geometry, styles = volumeGeometry(volumeNode), segmentStyles(segmentationNode)
    if kind is ExportFormat.NIFTI:
        return lambda: _writeLabels(labels.whole(geometry.shape), geometry, path, styles)
    scan, title = Scan.of(volumeNode, dicomFolder), fileName(segmentationNode.GetName())

    def write() -> Path:
        with temporaryFolder() as temporary:
            here = temporary.make("export")
            folder = scan.folder or gather(scan.files, here / "scan")
            result = _writeLabels(labels.whole(geometry.shape), geometry, here / f"{title}.seg.nrrd", styles)
            return _writeDicom(result, folder, path, kind, scan.seriesUid)

    return write


def _check(path: Path, kind: ExportFormat, *, overwrite: bool) -> None:
    if not path.name.lower().endswith(kind.suffix):
        raise UsageError(f"The name {path.name} does not end in {kind.suffix}.", "Choose such a name.")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already.", "Choose another name, or say that it may be replaced.")
    missing = missingPackages(kind.packages)
    if missing:
        raise DependencyError(
            f"Writing {kind.value} needs Python packages that are missing: {', '.join(missing)}.",
            "The panel's Export button installs them, and so does slicer.util.pip_install.",
        )


def _writeAsSlicerDoes(segmentationNode: vtkMRMLSegmentationNode, path: Path) -> None:
    """Without the node's own storage, so that saving the scene goes where it went before."""
    with atomic_path(path) as temporary:
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(temporary))
        if not storage.WriteData(segmentationNode):
            raise FileError(f"Cannot write {path}.", "Check the folder; the application log says more.")


def _writeLabels(labels: np.ndarray, geometry: Geometry, path: Path, styles: list[SegmentStyle]) -> Path:
    segments = [
        SegmentInfo(value, style.name, style.color, style.terminology, style.algorithm)
        for value, style in enumerate(styles, start=1)
    ]
    write_labels(labels, geometry, path, segments)
    return path


def _writeDicom(result: Path, folder: Path, path: Path, kind: ExportFormat, series: str) -> Path:
    from SparseSegLib.io.dicom.export import export_dicom

    export_dicom(result, folder, path, kind.dicomKind, series_uid=series, overwrite=True)
    return path
