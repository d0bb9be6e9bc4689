"""Labels as DICOM segmentation objects (SEG), made by highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from SparseSegLib import __version__
from SparseSegLib.io.dicom.text import character_set, dicom_text
from SparseSegLib.io.dicom.values import whole
from SparseSegLib.io.segmentation import MANUAL, SEMIAUTOMATIC, SegmentInfo
from SparseSegLib.io.terminology import Code, parse_terminology

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SERIES_BEYOND = 100  # the number of the scan's series, as 3D Slicer has it
_SHORT = 16  # characters of a short string (SH)


def segmentation_object(
    labels: np.ndarray, segments: Sequence[SegmentInfo], images: Sequence[Dataset], title: str
) -> Dataset:
    """Return labels as a SEG dataset with a binary segment for each structure.

    Parameters
    ----------
    labels : np.ndarray
        (Z, Y, X) integers, a z for each slice of the scan in the order of ``images``, or for each frame of its one
        multi-frame file.
    segments : sequence of SegmentInfo
        The structures, with their terminology.
    images : sequence of pydicom datasets
        The headers of the scan's files.
    title : str
        What to call the series.
    """
    import highdicom
    from pydicom.uid import generate_uid

    described = [_description(segment, number) for number, segment in enumerate(segments, start=1)]
    numbered = np.zeros(labels.shape, np.uint8 if len(segments) < 256 else np.uint16)
    for number, segment in enumerate(segments, start=1):
        numbered[labels == segment.value] = number
    texts = [title, *(text for segment in segments for text in (segment.name, segment.terminology))]
    made: Dataset = highdicom.seg.Segmentation(
        source_images=list(images),
        pixel_array=numbered,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=whole(images[0], "SeriesNumber", 0) + _SERIES_BEYOND,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="SparseSeg",
        manufacturer_model_name="SparseSeg",
        software_versions=__version__,
        device_serial_number="0",
        series_description=dicom_text(title),
        specific_character_set=character_set(images[0].get("SpecificCharacterSet"), texts),
    )
    return made


def _description(segment: SegmentInfo, number: int) -> Any:
    import highdicom

    said = parse_terminology(segment.terminology)
    algorithm = segment.algorithm or SEMIAUTOMATIC
    made = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=dicom_text(segment.name) or f"Segment_{number}",
        segmented_property_category=_concept(said.category),
        segmented_property_type=_concept(said.type),
        algorithm_type=algorithm,
        algorithm_identification=None if algorithm == MANUAL else _sparseseg(),
        anatomic_regions=[_concept(said.region)] if said.region else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*(round(255 * part) for part in segment.color)),
    )
    if said.modifier:
        made.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_concept(said.modifier)]
    if said.region_modifier:
        made.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [_concept(said.region_modifier)]
    return made


def _sparseseg() -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    return highdicom.AlgorithmIdentificationSequence(
        name="SparseSeg", version=__version__, family=codes.cid7162.ArtificialIntelligence
    )


def _concept(code: Code) -> Any:
    import highdicom

    return highdicom.sr.CodedConcept(code.value, dicom_text(code.scheme, _SHORT), dicom_text(code.meaning))
