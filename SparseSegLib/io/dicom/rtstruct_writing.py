"""Structure sets of radiotherapy (DICOM RTSTRUCT): the outlines of labels on the slices of their scan."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from SparseSegLib import __version__
from SparseSegLib.image import Geometry
from SparseSegLib.io.dicom.contours import outlines
from SparseSegLib.io.dicom.text import character_set, dicom_text
from SparseSegLib.io.segmentation import SEMIAUTOMATIC, SegmentInfo

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
_REQUIRED = (  # empty where the scan lacks them
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
_OPTIONAL = ("StudyInstanceUID", "PositionReferenceIndicator")


def structure_set(
    labels: np.ndarray,
    geometry: Geometry,
    segments: Sequence[SegmentInfo],
    slices: Sequence[Dataset],
    title: str,
    frames: Sequence[int] | None = None,
) -> Dataset:
    """Return labels as an RTSTRUCT dataset that refers to the slices of their scan.

    Parameters
    ----------
    labels : np.ndarray
        (Z, Y, X) integers, a z for each slice.
    geometry : Geometry
        Their grid, which is the scan's.
    segments : sequence of SegmentInfo
        The structures; one without voxels has no outlines, but is named.
    slices : sequence of pydicom datasets
        The slices' headers, in the order of z.
    title : str
        The label of the structure set, of which it shows 16 characters.
    frames : sequence of int
        Where the slices are frames of one multi-frame file, which one each is, from 0.
    """
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    first = slices[0]
    indices: Sequence[int | None] = [None] * len(slices) if frames is None else frames
    references = [_reference(one, index) for one, index in zip(slices, indices, strict=True)]
    file = _file(first, title)
    texts = [title, *(segment.name for segment in segments)]
    if (letters := character_set(first.get("SpecificCharacterSet"), texts)) is not None:
        file.SpecificCharacterSet = letters
    study = _dataset(ReferencedSOPClassUID=_STUDY_COMPONENT, ReferencedSOPInstanceUID=first.StudyInstanceUID)
    series = _dataset(
        SeriesInstanceUID=first.SeriesInstanceUID,
        ContourImageSequence=references if frames is None else [_reference(first)],
    )
    study.RTReferencedSeriesSequence = [series]
    frame = first.get("FrameOfReferenceUID") or generate_uid()
    file.FrameOfReferenceUID = frame
    file.ReferencedFrameOfReferenceSequence = [_dataset(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    regions, contours, observations = [], [], []
    for number, segment in enumerate(segments, start=1):
        regions.append(
            _dataset(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=frame,
                ROIName=dicom_text(segment.name) or f"Segment_{number}",
                ROIGenerationAlgorithm=segment.algorithm or SEMIAUTOMATIC,
            )
        )
        shown = Dataset()
        shown.ROIDisplayColor = [round(255 * part) for part in segment.color]
        shown.ReferencedROINumber = number
        shown.ContourSequence = _contours(labels == segment.value, geometry, references)
        contours.append(shown)
        observations.append(
            _dataset(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter="")
        )
    file.StructureSetROISequence = regions
    file.ROIContourSequence = contours
    file.RTROIObservationsSequence = observations
    return file


def _contours(mask: np.ndarray, geometry: Geometry, references: Sequence[Dataset]) -> list[Dataset]:
    found = []
    for z in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        for outline in outlines(mask[z]):
            points = geometry.index_to_physical(np.column_stack([np.full(len(outline), z), outline]))
            found.append(
                _dataset(
                    ContourImageSequence=[references[z]],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.4f}" for value in points.ravel()],
                )
            )
    return found


def _file(first: Dataset, title: str) -> Any:
    """Return a structure set's header: patient, study and equipment."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(_STORAGE)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for name in (*_REQUIRED, *_OPTIONAL):
        if name in first or name in _REQUIRED:
            setattr(file, name, first.get(name, ""))
    now = datetime.datetime.now()
    file.SOPClassUID = _STORAGE
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.Modality = "RTSTRUCT"
    file.Manufacturer = "SparseSeg"
    file.SoftwareVersions = __version__
    file.OperatorsName = ""
    file.SeriesInstanceUID = generate_uid()
    file.SeriesNumber = None
    file.SeriesDescription = dicom_text(title)
    file.InstanceCreationDate = file.StructureSetDate = f"{now:%Y%m%d}"
    file.InstanceCreationTime = file.StructureSetTime = f"{now:%H%M%S}"
    file.StructureSetLabel = dicom_text(title, 16)
    file.ApprovalStatus = "UNAPPROVED"
    return file


def _reference(one: Dataset, frame: int | None = None) -> Dataset:
    """Return a reference to a slice: a file, or a frame of one."""
    made = _dataset(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)
    if frame is not None:
        made.ReferencedFrameNumber = frame + 1
    return made


def _dataset(**values: Any) -> Dataset:
    from pydicom.dataset import Dataset

    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made
