"""Volumes that change with time: the frames of a sequence, and results as a sequence that is browsed with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLSequenceNode


def sequenceOf(volumeNode: vtkMRMLScalarVolumeNode) -> vtkMRMLSequenceNode | None:
    """The sequence whose selected frame this volume shows, if there is one."""
    browserNode = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(volumeNode)
    return None if browserNode is None else browserNode.GetSequenceNode(volumeNode)


@dataclass(frozen=True)
class Frame:
    """One time point of a sequence: what to call it, and its image."""

    name: str
    volumeNode: vtkMRMLScalarVolumeNode


def frames(volumeNode: vtkMRMLScalarVolumeNode) -> list[Frame]:
    """Every frame of the sequence that the volume shows; the volume alone where it shows none."""
    name, sequenceNode = volumeNode.GetName(), sequenceOf(volumeNode)
    if sequenceNode is None:
        return [Frame(name, volumeNode)]
    found = []
    for number in range(sequenceNode.GetNumberOfDataNodes()):
        place = f"{sequenceNode.GetIndexName()} {sequenceNode.GetNthIndexValue(number)}"
        found.append(Frame(f"{name} ({place})", sequenceNode.GetNthDataNode(number)))
    return found


def addSegmentationSequence(
    volumeNode: vtkMRMLScalarVolumeNode, segmentationNodes: list[vtkMRMLSegmentationNode | None], name: str
) -> vtkMRMLSegmentationNode:
    """Put the segmentations of all frames into one new sequence; the node that shows the selected frame.

    ``segmentationNodes`` has one entry for each of :func:`frames`, None for a frame without a result. The nodes
    themselves leave the scene.
    """
    logic = slicer.modules.sequences.logic()
    browserNode, volumes = logic.GetFirstBrowserNodeForProxyNode(volumeNode), sequenceOf(volumeNode)
    sequenceNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", slicer.mrmlScene.GenerateUniqueName(name))
    sequenceNode.SetIndexName(volumes.GetIndexName())
    sequenceNode.SetIndexUnit(volumes.GetIndexUnit())
    for number, node in enumerate(segmentationNodes):
        if node is not None:
            sequenceNode.SetDataNodeAtValue(node, volumes.GetNthIndexValue(number))
            slicer.mrmlScene.RemoveNode(node)
    browserNode.AddSynchronizedSequenceNode(sequenceNode)
    logic.UpdateProxyNodesFromSequences(browserNode)
    shown = browserNode.GetProxyNode(sequenceNode)
    if shown.GetDisplayNode() is None:
        shown.CreateDefaultDisplayNodes()
    return shown
