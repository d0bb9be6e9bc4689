"""Volumes that change with time: the frames of a sequence, and results as a sequence that is browsed with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer

from SparseSegModule.names import freeName

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLScalarVolumeNode,
        vtkMRMLSegmentationNode,
        vtkMRMLSequenceBrowserNode,
        vtkMRMLSequenceNode,
    )


FRAME_ATTRIBUTE = "SparseSeg.Frame"
"""On a segmentation: the index value of the frame that it was drawn on, or is a result of."""


def frameOf(volumeNode: vtkMRMLScalarVolumeNode) -> str:
    """The index value of the frame that a volume shows; "" for one that belongs to no sequence."""
    browserNode = _browserOf(volumeNode)
    sequenceNode = None if browserNode is None else browserNode.GetMasterSequenceNode()
    if sequenceNode is None or sequenceNode.GetNumberOfDataNodes() == 0:
        return ""
    return str(sequenceNode.GetNthIndexValue(max(0, browserNode.GetSelectedItemNumber())))  # -1 shows the first


def noteFrame(segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode) -> None:
    """Note of which frame a segmentation is; one that changes with the frames itself is of all of them."""
    frame = frameOf(volumeNode) if _browserOf(segmentationNode) is None else ""
    segmentationNode.SetAttribute(FRAME_ATTRIBUTE, frame or None)


def isOfAnotherFrame(
    segmentationNode: vtkMRMLSegmentationNode | None, volumeNode: vtkMRMLScalarVolumeNode | None
) -> bool:
    """Whether a segmentation was drawn on, or is a result of, another frame than the volume shows."""
    if segmentationNode is None or volumeNode is None:
        return False
    frame = segmentationNode.GetAttribute(FRAME_ATTRIBUTE)
    return frame is not None and _browserOf(segmentationNode) is None and frameOf(volumeNode) not in ("", frame)


def _browserOf(node: vtkMRMLScalarVolumeNode | vtkMRMLSegmentationNode) -> vtkMRMLSequenceBrowserNode | None:
    return slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(node)


@dataclass(frozen=True)
class Frames:
    """The frames of the sequence that a volume shows, as they are now; or the volume alone.

    Attributes
    ----------
    names, images : of each frame; images are nodes
    values : each frame's index in the sequence, as text
    browserNode, sequenceNode : None for a volume alone
    """

    names: list[str]
    images: list[vtkMRMLScalarVolumeNode]
    values: list[str]
    browserNode: vtkMRMLSequenceBrowserNode | None = None
    sequenceNode: vtkMRMLSequenceNode | None = None

    @classmethod
    def alone(cls, volumeNode: vtkMRMLScalarVolumeNode) -> Frames:
        """The volume as it is now."""
        return cls([volumeNode.GetName()], [volumeNode], [""])

    @classmethod
    def of(cls, volumeNode: vtkMRMLScalarVolumeNode) -> Frames:
        """Every frame of the volume's sequence, if it belongs to one that has any."""
        browserNode = _browserOf(volumeNode)
        sequenceNode = None if browserNode is None else browserNode.GetSequenceNode(volumeNode)
        if sequenceNode is None or sequenceNode.GetNumberOfDataNodes() == 0:
            return cls.alone(volumeNode)
        numbers = range(sequenceNode.GetNumberOfDataNodes())
        values = [sequenceNode.GetNthIndexValue(number) for number in numbers]
        names = [f"{volumeNode.GetName()} ({sequenceNode.GetIndexName()} {value})" for value in values]
        images = [sequenceNode.GetNthDataNode(number) for number in numbers]
        return cls(names, images, values, browserNode, sequenceNode)

    def show(self, segmentationNodes: list[vtkMRMLSegmentationNode | None], name: str) -> vtkMRMLSegmentationNode:
        """Put the frames' segmentations into one new sequence beside the images; the node that shows the selected one.

        ``segmentationNodes`` has one entry for each frame, None where there is no result; at least one is there. The
        nodes themselves leave the scene. If the sequence is gone, they stay, and the first of them is returned.
        """
        found = [node for node in segmentationNodes if node is not None]
        if any(node is None or node.GetScene() is None for node in (self.browserNode, self.sequenceNode)):
            return found[0]
        made = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", freeName(name))
        made.SetIndexName(self.sequenceNode.GetIndexName())
        made.SetIndexUnit(self.sequenceNode.GetIndexUnit())
        made.SetIndexType(self.sequenceNode.GetIndexType())
        made.SetNumericIndexValueTolerance(self.sequenceNode.GetNumericIndexValueTolerance())
        for value, node in zip(self.values, segmentationNodes, strict=True):
            if node is not None:
                made.SetDataNodeAtValue(node, value)
        self.browserNode.AddSynchronizedSequenceNode(made)
        self.browserNode.SetMissingItemMode(made, self.browserNode.MissingItemSetToDefault)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browserNode)
        shown = self.browserNode.GetProxyNode(made)
        if shown is None:  # the browser is recording
            shown = self.browserNode.AddProxyNode(found[0], made)
        for node in found:
            slicer.mrmlScene.RemoveNode(node)  # the scene removes its display node after it
        if shown.GetDisplayNode() is None:
            shown.CreateDefaultDisplayNodes()
        return shown
