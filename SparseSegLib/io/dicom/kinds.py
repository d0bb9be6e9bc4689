"""Kinds of DICOM files in words: images, and all that is none."""

from __future__ import annotations

from typing import Any

from SparseSegLib.io.dicom.values import media_class, sop_class, text

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_LABELS = "Give it as the labels, and the scan that it belongs to as the image."
_ANOTHER = "Choose the series of the scan itself."
_KINDS = (  # the beginning of the UID, what it is called, what to do
    ("66.4", "a segmentation (DICOM SEG)", _LABELS),
    ("66.7", "a segmentation (DICOM SEG)", _LABELS),
    ("66.5", "a surface segmentation", "Convert it to a DICOM SEG or a .seg.nrrd, for example in 3D Slicer."),
    ("66.1", "a registration (REG)", _ANOTHER),
    ("66.3", "a registration (REG)", _ANOTHER),
    ("66", "raw or derived data, not an image", _ANOTHER),
    ("67", "a map of real world values", _ANOTHER),
    ("481.2", "a dose distribution (RTDOSE)", "Choose the planning CT."),
    ("481.3", "a structure set (RTSTRUCT)", _LABELS),
    ("481.1", "a portal or simulation image (RTIMAGE)", "Choose the planning CT."),
    ("481", "a radiotherapy plan or record", "Choose the planning CT."),
    ("88.59", "a list of key images (KO)", _ANOTHER),
    ("88", "a structured report (SR)", _ANOTHER),
    ("11", "a presentation state (PR)", _ANOTHER),
    ("104", "an encapsulated document", _ANOTHER),
    ("9", "a waveform", _ANOTHER),
    ("77.1.6", "a microscopy slide", _ANOTHER),
)
_MODALITIES = {
    "SEG": _KINDS[0],
    "RTSTRUCT": _KINDS[8],
    "RTDOSE": _KINDS[7],
    "RTPLAN": _KINDS[10],
    "RTRECORD": _KINDS[10],
    "REG": _KINDS[3],
    "SR": _KINDS[12],
    "KO": _KINDS[11],
    "PR": _KINDS[13],
    "DOC": _KINDS[14],
}
_DICOM = "1.2.840.10008."  # what others begin with is private
_DIRECTORY = "1.2.840.10008.1.3.10"


def uid_name(uid: str) -> str:
    """Return what the DICOM standard calls a UID, or the UID itself."""
    from pydicom.uid import UID

    return UID(uid).name


def no_image(dataset: Any, *, has_pixels: bool) -> tuple[str, str] | None:
    """Return what a file is and what to do instead, if it is no image; None for an image or what is left of one."""
    uid = sop_class(dataset)
    if uid == _DIRECTORY:
        return "an index of other files (DICOMDIR)", "Choose the folder with the images themselves."
    for beginning, name, hint in _KINDS:
        whole = _STORAGE + beginning
        if uid == whole or uid.startswith(f"{whole}."):
            return name, hint
    if (modality := text(dataset, "Modality")) in _MODALITIES:
        return _MODALITIES[modality][1:]
    if not has_pixels and dataset.get("Rows") is None and dataset.get("SeriesInstanceUID") and _is_other(dataset):
        return f"a DICOM object without an image{f' ({modality})' if modality else ''}", _ANOTHER
    return None


def _is_other(dataset: Any) -> bool:
    """Return whether a file without pixels is of a kind that has none; else it is what is left of an image."""
    uids = {sop_class(dataset), media_class(dataset)}
    return all(
        not uid.startswith(_DICOM) or (uid_name(uid) != uid and "Image Storage" not in uid_name(uid))
        for uid in uids
        if uid
    )
