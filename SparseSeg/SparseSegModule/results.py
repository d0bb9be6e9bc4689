"""Results as nodes that name their input, their model and their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import slicer

from SparseSegLib.errors import GeometryError
from SparseSegLib.image import Geometry
from SparseSegLib.io.segmentation import AUTOMATIC, SEMIAUTOMATIC
from SparseSegModule.densifyWork import DenseArrays, DenseResult, nextSlice, settingsText
from SparseSegModule.names import freeName, freeNumber
from SparseSegModule.segmentChanges import setLabels
from SparseSegModule.segmentLabels import resultLabels
from SparseSegModule.segments import ALGORITHM_TAG, SegmentStyle
from SparseSegModule.sequences import noteFrame
from SparseSegModule.volumes import (
    addLabelmapNode,
    addUncertaintyNode,
    matrixFromGeometry,
    replaceImage,
    replaceUncertainty,
    volumeArray,
    volumeGeometry,
)

if TYPE_CHECKING:
    from slicer import vtkMRMLDisplayableNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

INPUT_ATTRIBUTE = "SparseSeg.Input"
"""Names the input volume on every node that SparseSeg made."""

MODEL_ATTRIBUTE = "SparseSeg.Model"
SETTINGS_ATTRIBUTE = "SparseSeg.Settings"
INPUT_ROLE = "SparseSeg.inputVolume"
"""Role of the node reference from a result to its input volume."""

Output = Literal["both", "labelmap", "segmentation"]


def deliverDense(
    volumeNode: vtkMRMLScalarVolumeNode,
    arrays: DenseArrays,
    styles: dict[int, SegmentStyle],
    figures: dict[str, Any],
    settings: dict[str, Any],
    output: Output,
    last: DenseResult | None = None,
) -> DenseResult:
    """Add the dense labels (as labelmap volume, segmentation or both) and the uncertainty to the scene.

    Nodes of the ``last`` result that are still there are updated instead.
    """
    name = f"{volumeNode.GetName()} dense ({_way(settings)})"
    number = freeNumber([f"{name} {kind}" for kind in ("labels", "segments", "uncertainty")])
    there = [int(value) for value in np.flatnonzero(arrays.voxels) if value]
    styles = {value: styles.get(value) or _style(value) for value in there}
    labelmapNode = segmentationNode = None
    if output != "segmentation":
        labelmapNode = last.labelmapNode if last is not None and inScene(last.labelmapNode) else None
        if labelmapNode is None:
            everyone = [styles.get(value) or _style(value) for value in range(1, max(styles, default=0) + 1)]
            names, colors = tuple(style.name for style in everyone), [style.color for style in everyone]
            labelmapNode = addLabelmapNode(arrays.labels, arrays.geometry, f"{name} labels{number}", names, colors)
        else:
            replaceImage(labelmapNode, arrays.labels, arrays.geometry)
        describe(labelmapNode, volumeNode, settings)
    if output != "labelmap":
        segmentationNode = last.segmentationNode if last is not None and inScene(last.segmentationNode) else None
        if segmentationNode is None:
            segmentationNode = addSegmentation(volumeNode, f"{name} segments{number}")
        setLabels(segmentationNode, arrays.objects, matrixFromGeometry(arrays.objectsGeometry), styles)
        describe(segmentationNode, volumeNode, settings)
    uncertaintyNode = last.uncertaintyNode if last is not None and inScene(last.uncertaintyNode) else None
    if uncertaintyNode is None:
        name = f"{name} uncertainty{number}"
        uncertaintyNode = addUncertaintyNode(arrays.uncertainty, arrays.uncertaintyGeometry, name)
    else:
        replaceUncertainty(uncertaintyNode, arrays.uncertainty, arrays.uncertaintyGeometry)
    describe(uncertaintyNode, volumeNode, settings)
    return DenseResult(
        labelmapNode,
        segmentationNode,
        uncertaintyNode,
        figures.get("estimated_iou"),
        nextSlice(figures),
        float(figures["seconds"]),
        int(figures["steps"]),
        _milliliters(arrays, styles),
        bool(figures.get("reached_edges")),
        arrays.weights,
        figures.get("annotation", ""),
    )


def _milliliters(arrays: DenseArrays, styles: dict[int, SegmentStyle]) -> dict[str, float]:
    voxel = float(np.prod(arrays.objectsGeometry.spacing)) / 1000
    counts = arrays.voxels
    return {style.name: float(counts[value]) * voxel for value, style in styles.items()}


def denseLabels(result: DenseResult, volumeNode: vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The dense labels of a result on the volume's grid ``(Z, Y, X)``; GeometryError if that is another one by now."""
    if not liesOn(result, volumeNode):
        raise GeometryError(
            f"The result was made on another grid than {volumeNode.GetName()} has now.", "Densify again."
        )
    if inScene(result.labelmapNode):
        return np.array(volumeArray(result.labelmapNode))
    return resultLabels(result.segmentationNode, volumeNode)


def liesOn(result: DenseResult, volumeNode: vtkMRMLScalarVolumeNode) -> bool:
    """Whether the volume still has the grid that a result was made on, as far as its nodes tell."""
    node = result.labelmapNode
    return not inScene(node) or volumeGeometry(node).matches(volumeGeometry(volumeNode))


def inScene(node: vtkMRMLDisplayableNode | None) -> bool:
    """Whether there is such a node, and it has not left the scene."""
    return node is not None and node.GetScene() is not None


def keepCopy(segmentationNode: vtkMRMLSegmentationNode) -> vtkMRMLSegmentationNode:
    """A copy of a result beside it, hidden, that later results leave alone."""
    volumeNode = segmentationNode.GetNodeReference(INPUT_ROLE)
    copy = addSegmentation(volumeNode, f"{segmentationNode.GetName()} copy")
    copy.GetSegmentation().DeepCopy(segmentationNode.GetSegmentation())
    for name in (INPUT_ATTRIBUTE, MODEL_ATTRIBUTE, SETTINGS_ATTRIBUTE):
        copy.SetAttribute(name, segmentationNode.GetAttribute(name))
    copy.SetNodeReferenceID(INPUT_ROLE, volumeNode.GetID())
    copy.GetDisplayNode().SetVisibility(False)
    return copy


def addSegmentation(volumeNode: vtkMRMLScalarVolumeNode, name: str) -> vtkMRMLSegmentationNode:
    """A new, empty segmentation on the grid of a volume, under its transform."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", freeName(name))
    node.CreateDefaultDisplayNodes()
    layOnVolume(node, volumeNode)
    return node


def layOnVolume(segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode) -> None:
    """Give a segmentation the grid of a volume, put it under its transform and into its study; note the frame shown."""
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    noteFrame(segmentationNode, volumeNode)
    _putBeside(segmentationNode, volumeNode)


def inputOf(segmentationNode: vtkMRMLSegmentationNode) -> vtkMRMLScalarVolumeNode | None:
    """The volume that a segmentation is a result for, or was drawn on."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    return segmentationNode.GetNodeReference(INPUT_ROLE) or segmentationNode.GetNodeReference(role)


def showPreview(
    segmentationNode: vtkMRMLSegmentationNode, labels: np.ndarray, geometry: Geometry, styles: dict[int, SegmentStyle]
) -> None:
    """Put an intermediate result into the preview's segmentation."""
    setLabels(segmentationNode, labels, matrixFromGeometry(geometry), styles)


def _way(settings: dict[str, Any]) -> str:
    """The model that segmented, or the network or preset that was densified with."""
    return str(next((settings[key] for key in ("model", "network", "preset") if key in settings), ""))


def describe(node: vtkMRMLDisplayableNode, volumeNode: vtkMRMLScalarVolumeNode, settings: dict[str, Any]) -> None:
    """Note where a node comes from, put it under the volume's transform and into the volume's study."""
    node.SetAttribute(INPUT_ATTRIBUTE, volumeNode.GetName())
    node.SetAttribute(MODEL_ATTRIBUTE, _way(settings))
    node.SetAttribute(SETTINGS_ATTRIBUTE, settingsText(settings))
    node.SetNodeReferenceID(INPUT_ROLE, volumeNode.GetID())
    if node.IsA("vtkMRMLSegmentationNode"):
        _nameAlgorithm(node, AUTOMATIC if "model" in settings else SEMIAUTOMATIC)
    _putBeside(node, volumeNode)


def _nameAlgorithm(segmentationNode: vtkMRMLSegmentationNode, kind: str) -> None:
    """Say how the segments were made, in the tags that Slicer's DICOM export reads."""
    segmentation = segmentationNode.GetSegmentation()
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        segment.SetTag(ALGORITHM_TAG, kind)
        segment.SetTag("DICOM.SegmentAlgorithmName", "SparseSeg")


def _putBeside(node: vtkMRMLDisplayableNode, volumeNode: vtkMRMLScalarVolumeNode) -> None:
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    volumeItem, item = hierarchy.GetItemByDataNode(volumeNode), hierarchy.GetItemByDataNode(node)
    if volumeItem:
        study = hierarchy.GetItemParent(volumeItem)
        if item:
            hierarchy.SetItemParent(item, study)
        else:
            hierarchy.CreateItem(study, node)


def _style(value: int) -> SegmentStyle:
    """The style of a class that the annotation does not name."""
    from SparseSegLib.io import default_segment

    segment = default_segment(value)
    return SegmentStyle(segment.name, tuple(segment.color))
