"""A segmentation as DICOM in Slicer's DICOM database, in the study of the scan that it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from SparseSegLib.errors import FileError, SparseSegError, UsageError
from SparseSegModule.exporter import prepareExport
from SparseSegModule.exportFormats import ExportFormat
from SparseSegModule.names import fileName
from SparseSegModule.temporary import temporaryFolder

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

INSTANCE_TAG = "0008,0018"


class DatabaseExport:
    """A segmentation on its way into the database.

    Raises what ``prepareExport`` does, and UsageError for a format that is no DICOM.

    Attributes
    ----------
    write : writes the file that is stored then, for any thread
    """

    def __init__(
        self,
        segmentationNode: vtkMRMLSegmentationNode,
        kind: ExportFormat,
        volumeNode: vtkMRMLScalarVolumeNode | None = None,
    ) -> None:
        if not kind.dicomKind:
            raise UsageError(f"The format {kind.value} is no DICOM.", "Use dicom-seg or rtstruct.")
        self._folder = temporaryFolder()
        self._path = self._folder.make("export") / f"{fileName(segmentationNode.GetName())}{kind.suffix}"
        try:
            self.write = prepareExport(segmentationNode, self._path, kind, volumeNode)
        except SparseSegError:
            self._folder.remove()
            raise

    def store(self) -> Path:
        """Have the database copy what was written; the path there. FileError if it does not take it."""
        database = slicer.dicomDatabase
        with self._folder:
            instance = database.fileValue(str(self._path), INSTANCE_TAG)
            database.insert(str(self._path), True, False)
        stored = database.fileForInstance(instance) if instance else ""
        if not stored or not Path(stored).is_file():
            raise FileError(
                "Slicer's DICOM database did not take the segmentation.",
                "Export it as a file instead; the application log says more.",
            )
        return Path(stored)

    def discard(self) -> None:
        """Remove what was written, or was to be."""
        self._folder.remove()
