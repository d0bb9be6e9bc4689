"""Where the user lets a segmentation be changed: locked segments, and the Segment Editor's masking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer

from SparseSegModule.segmentLabels import segmentsMask
from SparseSegModule.segments import editableSegmentIds, lockedSegmentIds, visibleSegmentIds
from SparseSegModule.volumes import volumeArray

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLSegmentEditorNode


def protectedVoxels(
    volumeNode: vtkMRMLScalarVolumeNode,
    segmentationNode: vtkMRMLSegmentationNode,
    editorNode: vtkMRMLSegmentEditorNode | None = None,
) -> np.ndarray | None:
    """The voxels ``(Z, Y, X)`` that must stay as they are, as a mask; None where all may be changed.

    These are the voxels of locked segments and, with a Segment Editor's node, those outside of its *Editable area* and
    its *Editable intensity range*. "Outside of segments" means outside of those that are not learned.
    """
    parts = []
    locked = lockedSegmentIds(segmentationNode)
    if locked:
        parts.append(segmentsMask(segmentationNode, volumeNode, locked))
    if editorNode is not None:
        area = _outsideArea(volumeNode, segmentationNode, editorNode)
        parts += [area] if area is not None else []
        if editorNode.GetSourceVolumeIntensityMask():
            least, most = editorNode.GetSourceVolumeIntensityMaskRange()
            image = volumeArray(volumeNode)
            parts.append((image < least) | (image > most))
    return np.logical_or.reduce(parts) if parts else None


def _outsideArea(volumeNode, segmentationNode, editorNode) -> np.ndarray | None:
    """The voxels outside of the *Editable area*; None where it is everywhere."""
    kind, mode = slicer.vtkMRMLSegmentationNode, editorNode.GetMaskMode()
    if mode == kind.EditAllowedEverywhere:
        return None
    segmentation = segmentationNode.GetSegmentation()
    everything = list(segmentation.GetSegmentIDs())
    visible = visibleSegmentIds(segmentationNode)
    inside = {
        kind.EditAllowedInsideAllSegments: everything,
        kind.EditAllowedInsideVisibleSegments: visible,
        kind.EditAllowedInsideSingleSegment: [editorNode.GetMaskSegmentID()],
    }
    if mode in inside:
        known = [segmentId for segmentId in inside[mode] if segmentId in everything]
        return ~segmentsMask(segmentationNode, volumeNode, known)
    others = everything if mode == kind.EditAllowedOutsideAllSegments else visible
    learned = editableSegmentIds(segmentationNode)
    return segmentsMask(segmentationNode, volumeNode, [one for one in others if one not in learned])
