"""DICOM files made by pydicom: single slices and multi-frame files of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from SparseSegLib.image import Geometry

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"
CAPTURES = "1.2.840.10008.5.1.4.1.1.7.3"
SHAPE = (6, 7, 9)
GEOMETRY = Geometry(SHAPE, (2.5, 0.8, 0.9), (-12.5, 7.25, 100.0))
ARRAY = np.random.default_rng(0).integers(0, 3000, SHAPE).astype(np.uint16)


def item(**tags: Any) -> Dataset:
    """A data set with some tags."""
    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def new_file(sop_class: str, modality: str = "CT", syntax: str = ExplicitVRLittleEndian, **tags: Any) -> FileDataset:
    """A file of some kind, whose image is still missing."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = UID(syntax)
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.Modality = modality
    made.PatientName, made.PatientID = "Doe^Jane", "7"
    made.PatientBirthDate = made.PatientSex = made.StudyID = made.AccessionNumber = ""
    made.StudyDate, made.StudyTime, made.SeriesNumber, made.InstanceNumber = "20200101", "120000", 1, 1
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3.1", "1.2.3.2"
    made.FrameOfReferenceUID = "1.2.3.3"
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def put_pixels(dataset: Dataset, array: np.ndarray) -> None:
    """Store frames (F, Y, X), or a slice (Y, X), as they are."""
    dataset.Rows, dataset.Columns = array.shape[-2:]
    if array.ndim == 3:
        dataset.NumberOfFrames = len(array)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * array.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    data = array.tobytes()
    dataset.PixelData = data + bytes(len(data) % 2)
    dataset["PixelData"].VR = "OB" if array.itemsize == 1 else "OW"


def place_of(geometry: Geometry, z: float) -> list[float]:
    """The position of a slice, as DICOM writes it."""
    return [round(float(value), 6) for value in geometry.index_to_physical(np.array([z, 0, 0]))]


def orientation_of(geometry: Geometry) -> list[float]:
    """The directions of its rows and columns."""
    matrix = np.array(geometry.direction).reshape(3, 3)
    return [round(float(value), 10) for value in (*matrix[:, 0], *matrix[:, 1])]


def slices(geometry: Geometry = GEOMETRY, array: np.ndarray = ARRAY, **tags: Any) -> list[FileDataset]:
    """A CT series of single slices, not yet written."""
    found = []
    for z, values in enumerate(array):
        one = new_file(CT, ImagePositionPatient=place_of(geometry, z), ImageOrientationPatient=orientation_of(geometry))
        one.PixelSpacing = list(geometry.spacing[1:])
        one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, -1024, "HU"
        one.SliceThickness = 1
        put_pixels(one, values)
        for name, value in tags.items():
            setattr(one, name, value)
        found.append(one)
    return found


def save_all(files: list[FileDataset], folder: Path) -> list[Path]:
    """Write slices, named by their order."""
    folder.mkdir(exist_ok=True, parents=True)
    paths = [folder / f"IM{index:04d}.dcm" for index in range(len(files))]
    for one, path in zip(files, paths, strict=True):
        one.save_as(path, enforce_file_format=True)
    return paths


def enhanced(
    array: np.ndarray = ARRAY,
    geometry: Geometry = GEOMETRY,
    heights: list[float] | None = None,
    slopes: list[float] | None = None,
    sop_class: str = ENHANCED_CT,
    **tags: Any,
) -> FileDataset:
    """A multi-frame file with functional groups.

    ``heights`` are the slices (z) that the frames of the array are of, and ``slopes`` their scaling.
    """
    made = new_file(sop_class, "MR" if sop_class == ENHANCED_MR else "CT", **tags)
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    heights = list(range(len(array))) if heights is None else heights
    measures = item(PixelSpacing=list(geometry.spacing[1:]), SliceThickness=1, SpacingBetweenSlices=1)  # it is not
    turned = item(ImageOrientationPatient=orientation_of(geometry))
    made.SharedFunctionalGroupsSequence = [item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[turned])]
    made.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=number, DimensionIndexValues=[1, number])],
            PlanePositionSequence=[item(ImagePositionPatient=place_of(geometry, z))],
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=-1024, RescaleType="HU")],
        )
        for number, (z, slope) in enumerate(zip(heights, slopes or [1.0] * len(array), strict=True), start=1)
    ]
    put_pixels(made, array)
    return made


def per_frame(dataset: Dataset, group: str, name: str, values: list[Any]) -> None:
    """Set a value of each frame's functional group."""
    for one, value in zip(dataset.PerFrameFunctionalGroupsSequence, values, strict=True):
        if group not in one:
            setattr(one, group, [Dataset()])
        setattr(getattr(one, group)[0], name, value)


def compress_with(dataset: Dataset, syntax: str, frames: list[bytes]) -> None:
    """Put compressed frames in the place of the plain ones."""
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
