"""Panel, part 5: a segmentation as a file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.errors import SparseSegError
from SparseSegModule.background import BackgroundCall
from SparseSegModule.databaseExport import DatabaseExport
from SparseSegModule.dependencies import installPackages, missingPackages
from SparseSegModule.dicomScan import scanFiles
from SparseSegModule.exporter import prepareExport
from SparseSegModule.exportFormats import ExportFormat
from SparseSegModule.names import fileName
from SparseSegModule.results import inputOf
from SparseSegModule.translation import errorText
from SparseSegModule.waiting import Waiting

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


class ExportPart:
    """Asks for file and scan, and writes in the background."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self._waiting = Waiting(self._onWritten)
        self._storing: DatabaseExport | None = None
        panel.ui.exportButton.connect("clicked()", self.onExport)

    def refresh(self) -> None:
        """Follow the parameter node."""
        node = self.panel.parameterNode
        ready = node is not None and node.shown is not None and not self._waiting.busy
        self.panel.ui.exportButton.enabled = ready
        self.panel.ui.databaseCheckBox.enabled = node is not None and bool(node.exportFormat.dicomKind)

    def cleanup(self) -> None:
        """The panel goes; a file that is being written is finished."""
        self._waiting.forget()

    def onExport(self) -> None:
        """Install what is missing, ask where to, and where the scan is if Slicer's database lacks it, then write."""
        node = self.panel.parameterNode
        kind, segmentationNode = node.exportFormat, node.shown
        if not _hasPackages(kind):
            return
        if kind.dicomKind and node.intoDatabase:
            self._store(segmentationNode, kind)
            return
        folder = None
        volumeNode = inputOf(segmentationNode)
        if kind.dicomKind and volumeNode is not None and not scanFiles(volumeNode):
            folder = _askForScan(_folderOf(volumeNode))
            if folder is None:
                return
        path, agreed = _askForFile(_folderOf(volumeNode), segmentationNode.GetName(), kind)
        if path is None:
            return
        try:
            write = prepareExport(segmentationNode, path, kind, volumeNode, folder, overwrite=agreed)
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))
            return
        self._start(write)

    def _store(self, segmentationNode: vtkMRMLSegmentationNode, kind: ExportFormat) -> None:
        """Write into Slicer's DICOM database."""
        try:
            self._storing = DatabaseExport(segmentationNode, kind)
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))
            return
        self._start(self._storing.write)

    def _start(self, write: Callable[[], Path]) -> None:
        self._waiting.start(write)
        self.panel.ui.exportLabel.text = _("Writing...")
        self.refresh()

    def _onWritten(self, call: BackgroundCall) -> None:
        self.refresh()
        label = self.panel.ui.exportLabel
        label.text = ""
        storing, self._storing = self._storing, None
        with slicer.util.tryWithErrorDisplay(_("The segmentation could not be exported.")):
            path = call.result()
            name = path.name if storing is None else _("into the DICOM database")
            path = path if storing is None else storing.store()
            label.text = _("Written: {name}").format(name=name)
            label.toolTip = str(path)


def _hasPackages(kind: ExportFormat) -> bool:
    """Whether the packages for a format are there; if not, offer to install them."""
    missing = missingPackages(kind.packages)
    if not missing:
        return True
    try:
        installPackages(list(missing))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:  # declined, or there is no internet
        slicer.util.errorDisplay(
            _("Writing {format} needs Python packages that are missing: {names}.").format(
                format=kind.label(), names=", ".join(missing)
            )
            + f"\n\n{error}"
        )
    return not missingPackages(kind.packages)


def _folderOf(volumeNode: vtkMRMLScalarVolumeNode | None) -> Path:
    """Where to look first: beside a volume's file; for a scan of the DICOM database, where Slicer saves scenes."""
    storage = None if volumeNode is None or scanFiles(volumeNode) else volumeNode.GetStorageNode()
    if storage is not None and storage.GetFileName():
        folder = Path(storage.GetFullNameFromFileName()).parent
        if folder.is_dir():
            return folder
    return Path(slicer.app.defaultScenePath)


def _askForFile(folder: Path, name: str, kind: ExportFormat) -> tuple[Path | None, bool]:
    """Where to write, and whether a file that is there may be replaced: the dialog asks, but only for its own name."""
    proposed = folder / f"{fileName(name)}{kind.suffix}"
    chosen = qt.QFileDialog.getSaveFileName(
        slicer.util.mainWindow(), _("Export segmentation"), str(proposed), f"*{kind.suffix}"
    )
    if not chosen:
        return None, False
    path = Path(chosen)
    whole = path.name.lower().endswith(kind.suffix)
    return (path, True) if whole else (path.with_name(f"{path.name}{kind.suffix}"), False)


def _askForScan(folder: Path) -> Path | None:
    """The folder of a scan that Slicer's DICOM database does not have."""
    chosen = qt.QFileDialog.getExistingDirectory(
        slicer.util.mainWindow(),
        _("The scan is not in Slicer's DICOM database: choose the folder with its slices"),
        str(folder),
    )
    return Path(chosen) if chosen else None
