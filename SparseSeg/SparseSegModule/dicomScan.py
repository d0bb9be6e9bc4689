"""The DICOM series that a volume was loaded from: its files, found as Slicer finds them, and what it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from SparseSegLib.errors import VolumeError

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

    from SparseSegLib.models import ModelCard

IMAGE_TYPE_TAG = "0008,0008"
FEW_SLICES = 3


def scanFiles(volumeNode: vtkMRMLScalarVolumeNode) -> list[Path]:
    """The files of the volume's slices in Slicer's DICOM database; none where it does not have all of them."""
    database = getattr(slicer, "dicomDatabase", None)
    if database is None or not database.isOpen:
        return []
    uids = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    if not uids and seriesUid(volumeNode):
        uids = list(database.instancesForSeries(seriesUid(volumeNode)))
    names = [database.fileForInstance(uid) for uid in uids]
    files = [Path(name) for name in names if name]
    return files if len(files) == len(uids) and all(file.is_file() for file in files) else []


def seriesUid(volumeNode: vtkMRMLScalarVolumeNode) -> str:
    """The UID of the series that the volume was loaded from, or ""."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volumeNode)
    kind = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName()
    return str(hierarchy.GetItemUID(item, kind)) if item else ""


def seriesDoubts(volumeNode: vtkMRMLScalarVolumeNode) -> str:
    """What a volume of the DICOM database is, if it seems the wrong series to segment; "" if it does not."""
    database = getattr(slicer, "dicomDatabase", None)
    uids = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    image = volumeNode.GetImageData()
    if not uids or image is None:
        return ""
    isOpen = database is not None and database.isOpen
    kind = (database.instanceValue(uids[0], IMAGE_TYPE_TAG) or "").upper().split("\\") if isOpen else [""]
    count = min(image.GetDimensions())
    if "LOCALIZER" in kind:
        return _("a localizer (scout view)")
    if count <= FEW_SLICES:
        return _("a scan of {count} slices").format(count=count)
    if kind[0] == "DERIVED":
        return _("derived from another series ({kind})").format(kind=" ".join(kind[2:3]) or kind[0])
    return ""


def modalityOf(volumeNode: vtkMRMLScalarVolumeNode) -> str:
    """The modality that a volume was loaded with from DICOM, such as "MR", or ""."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volumeNode)
    return str(hierarchy.GetItemAttribute(item, "DICOM.Modality")) if item else ""


def checkForModel(volumeNode: vtkMRMLScalarVolumeNode, card: ModelCard) -> None:
    """Raise VolumeError if a volume is of another modality than a model's, or seems the wrong series."""
    name, modality = volumeNode.GetName(), modalityOf(volumeNode)
    hint = "Choose the scan itself, or segment in spite of warnings."
    if card.scans and modality and modality != card.scans:
        raise VolumeError(f"{name} is {modality}, and the model {card.name} is for {card.scans}.", hint)
    doubts = seriesDoubts(volumeNode)
    if doubts:
        raise VolumeError(f"{name} seems to be the wrong series: {doubts}.", hint)


def gather(files: Sequence[Path], folder: Path) -> Path:
    """Copy the slices of one volume, which may lie among others, into a folder of their own."""
    folder.mkdir()
    for number, file in enumerate(files):
        shutil.copyfile(file, folder / f"{number:05d}.dcm")
    return folder
