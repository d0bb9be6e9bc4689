"""The segments of a segmentation node: which are classes, which are worked on, and how they look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer
import vtk

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode, vtkSegment

BACKGROUND = "background"
ALGORITHM_TAG = "DICOM.SegmentAlgorithmType"
DEFAULT_TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~Anatomic codes - DICOM master list~^^~^^"
)


@dataclass(frozen=True)
class SegmentStyle:
    """The style of a class: name, color (red, green, blue, 0 to 1), DICOM terminology and how it was made."""

    name: str
    color: tuple[float, float, float]
    terminology: str = DEFAULT_TERMINOLOGY
    algorithm: str = ""


def addEmpty(segmentationNode: vtkMRMLSegmentationNode, style: SegmentStyle) -> str:
    """Add a segment in which nothing is drawn yet; its ID."""
    segmentation = segmentationNode.GetSegmentation()
    segmentId = segmentation.AddEmptySegment("", style.name, style.color)
    segment = segmentation.GetSegment(segmentId)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), style.terminology)
    return str(segmentId)


def classSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    """The segments that are classes 1..n, in their order: all but those named "background"."""
    return [segmentId for segmentId in allSegmentIds(segmentationNode) if not isBackground(segmentationNode, segmentId)]


def segmentStyles(segmentationNode: vtkMRMLSegmentationNode) -> list[SegmentStyle]:
    """Names, colors and terminology of the classes."""
    segmentation = segmentationNode.GetSegmentation()
    return [_styleOf(segmentation.GetSegment(segmentId)) for segmentId in classSegmentIds(segmentationNode)]


def editableStyles(segmentationNode: vtkMRMLSegmentationNode) -> dict[int, SegmentStyle]:
    """The styles of the classes that are worked on, by their values."""
    editable = editableSegmentIds(segmentationNode)
    styles = zip(classSegmentIds(segmentationNode), segmentStyles(segmentationNode), strict=True)
    return {value: style for value, (name, style) in enumerate(styles, start=1) if name in editable}


def editableSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    """The classes that are worked on: those that are visible and not locked."""
    locked, visible = lockedSegmentIds(segmentationNode), visibleSegmentIds(segmentationNode)
    return [name for name in classSegmentIds(segmentationNode) if name in visible and name not in locked]


def lockedSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    """The segments that are finished and stay as they are: those with Slicer's status *Completed*."""
    logic, segmentation = slicer.vtkSlicerSegmentationsModuleLogic, segmentationNode.GetSegmentation()
    return [
        segmentId
        for segmentId in allSegmentIds(segmentationNode)
        if logic.GetSegmentStatus(segmentation.GetSegment(segmentId)) == logic.Completed
    ]


def visibleSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    """The segments whose eye is open."""
    display = segmentationNode.GetDisplayNode()
    return [name for name in allSegmentIds(segmentationNode) if display is None or display.GetSegmentVisibility(name)]


def allSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]


def isBackground(segmentationNode: vtkMRMLSegmentationNode, segmentId: str) -> bool:
    return segmentationNode.GetSegmentation().GetSegment(segmentId).GetName().strip().lower() == BACKGROUND


def labelmapName() -> str:
    return str(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())


def _styleOf(segment: vtkSegment) -> SegmentStyle:
    terminology = _tagOf(segment, slicer.vtkSegment.GetTerminologyEntryTagName())
    algorithm = _tagOf(segment, ALGORITHM_TAG)
    return SegmentStyle(segment.GetName(), tuple(segment.GetColor()), terminology or DEFAULT_TERMINOLOGY, algorithm)


def _tagOf(segment: vtkSegment, name: str) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""
