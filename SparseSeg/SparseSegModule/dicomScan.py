"""The DICOM files that a volume was loaded from, found as Slicer finds them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import slicer

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode


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


def gather(files: Sequence[Path], folder: Path) -> Path:
    """Copy the slices of one volume, which may lie among others, into a folder of their own."""
    folder.mkdir()
    for number, file in enumerate(files):
        shutil.copyfile(file, folder / f"{number:05d}.dcm")
    return folder
