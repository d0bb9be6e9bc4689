"""What can be no input, in words: results of SparseSeg, and sheared volumes, on which nothing can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from SparseSegModule.selectors import isMade
from SparseSegModule.translation import translated
from SparseSegModule.volumes import shearOf

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


def whyNoImage(volumeNode: vtkMRMLScalarVolumeNode) -> str:
    """Why a volume is no image to segment, or ""."""
    if isMade(volumeNode):
        text = _("{name} is a result of SparseSeg, and no image to segment. Choose the image itself.")
        return text.format(name=volumeNode.GetName())
    return translated(shearOf(volumeNode))


def whyNoDrawing(segmentationNode: vtkMRMLSegmentationNode) -> str:
    """Why a segmentation is nothing to draw in, or ""."""
    if not isMade(segmentationNode):
        return ""
    text = _("{name} is a result of SparseSeg, and nothing that you drew. Apply takes a result over.")
    return text.format(name=segmentationNode.GetName())
