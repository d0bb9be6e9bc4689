"""What Slicer's displayable managers do not survive, as an error in place of a crash."""

from typing import Any

import slicer
import vtk


def watch(scene: Any) -> None:
    """Complain about a segmentation's display node that leaves the scene before the segmentation does."""

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onRemoval(scene: Any, _event: str, node: Any) -> None:
        if scene.IsClosing() or not node.IsA("vtkMRMLSegmentationDisplayNode"):
            return
        for segmentationNode in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            if segmentationNode.HasNodeReferenceID("display", node.GetID()):
                raise RuntimeError(f"Slicer crashes: {segmentationNode.GetName()} loses its display node.")

    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, onRemoval)
