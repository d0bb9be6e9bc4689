"""The formats that a segmentation is exported to."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from slicer.i18n import tr as _

from SparseSegLib.errors import UsageError
from SparseSegModule.dependencies import PACKAGES


class ExportFormat(Enum):
    """Formats to write; the values are the names on the console."""

    SEG_NRRD = "seg.nrrd"
    NIFTI = "nifti"
    DICOM_SEG = "dicom-seg"
    RTSTRUCT = "rtstruct"

    @property
    def suffix(self) -> str:
        """The suffix of the file."""
        return {ExportFormat.SEG_NRRD: ".seg.nrrd", ExportFormat.NIFTI: ".nii.gz"}.get(self, ".dcm")

    @property
    def dicomKind(self) -> str:
        """Its name in the engine; "" for what is no DICOM."""
        return {ExportFormat.DICOM_SEG: "seg", ExportFormat.RTSTRUCT: "rtstruct"}.get(self, "")

    @property
    def packages(self) -> tuple[str, ...]:
        """The Python packages that writing it needs."""
        return tuple(PACKAGES) if self.dicomKind else ()

    def label(self) -> str:
        """Its name in the panel."""
        return {
            ExportFormat.SEG_NRRD: _("Segmentation (.seg.nrrd)"),
            ExportFormat.NIFTI: _("NIfTI labelmap (.nii.gz)"),
            ExportFormat.DICOM_SEG: _("DICOM SEG"),
            ExportFormat.RTSTRUCT: _("DICOM RTSTRUCT"),
        }[self]


def formatOf(path: Path, name: str = "") -> ExportFormat:
    """The format of that name, or else of the file's suffix; UsageError where neither names one."""
    known = ", ".join(each.value for each in ExportFormat)
    if name:
        try:
            return ExportFormat(name)
        except ValueError as error:
            raise UsageError(f"There is no format called {name}.", f"Use one of {known}.") from error
    for each in (ExportFormat.SEG_NRRD, ExportFormat.NIFTI):
        if path.name.lower().endswith(each.suffix):
            return each
    raise UsageError(f"The name {path.name} does not say the format.", f"Say which: {known}.")
