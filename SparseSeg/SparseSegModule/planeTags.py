"""The table of annotated slices as a tag of the segments: undo and redo of the Segment Editor bring it back, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vtk

from SparseSegModule.planes import PlaneTable

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode

PLANES_TAG = "SparseSeg.planes"


def readTag(segmentationNode: vtkMRMLSegmentationNode) -> str:
    """The text of the table that comes with the segments; "" if there is none."""
    segmentation, text = segmentationNode.GetSegmentation(), vtk.reference("")
    for number in range(segmentation.GetNumberOfSegments()):
        if segmentation.GetNthSegment(number).GetTag(PLANES_TAG, text) and str(text):
            return str(text)
    return ""


def writeTag(segmentationNode: vtkMRMLSegmentationNode, table: PlaneTable) -> None:
    """Keep a table with every segment that has another one; each that is changed draws the views anew."""
    text = table.toText()
    segmentation, known = segmentationNode.GetSegmentation(), vtk.reference("")
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        if not segment.GetTag(PLANES_TAG, known) or str(known) != text:
            segment.SetTag(PLANES_TAG, text)
