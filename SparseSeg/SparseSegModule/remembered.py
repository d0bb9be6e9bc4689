"""The last result of a drawing, kept with it in the scene: a saved scene brings it back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import slicer

from SparseSegLib.annotation import Plane
from SparseSegModule.densifyWork import DenseResult

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode, vtkMRMLTextNode

ROLES = {
    "labelmapNode": "SparseSeg.resultLabelmap",
    "segmentationNode": "SparseSeg.resultSegmentation",
    "uncertaintyNode": "SparseSeg.resultUncertainty",
}
FIGURES_ATTRIBUTE = "SparseSeg.resultFigures"
WEIGHTS_ROLE = "SparseSeg.weights"


def rememberResult(
    drawnNode: vtkMRMLSegmentationNode, result: DenseResult, segmentIds: list[str], opacity: float
) -> None:
    """Keep a result with the segmentation that it was learned from.

    ``segmentIds`` are those of the classes 1..n, and ``opacity`` is that of the segmentation without a result over it.
    """
    for name, role in ROLES.items():
        node = getattr(result, name)
        drawnNode.SetNodeReferenceID(role, node.GetID() if node is not None else None)
    plane = result.nextSlice
    figures = {
        "segmentIds": segmentIds,
        "opacity": opacity,
        "estimatedIoU": result.estimatedIoU,
        "nextSlice": None if plane is None else [plane.axis, plane.index],
        "seconds": result.seconds,
        "steps": result.steps,
        "milliliters": result.milliliters,
        "reachesEdge": result.reachesEdge,
        "annotation": result.annotation,
    }
    drawnNode.SetAttribute(FIGURES_ATTRIBUTE, json.dumps(figures))
    if result.weights:
        _weightsNode(drawnNode).SetText(result.weights)
    elif result.weights is None and drawnNode.GetNodeReference(WEIGHTS_ROLE) is not None:
        slicer.mrmlScene.RemoveNode(drawnNode.GetNodeReference(WEIGHTS_ROLE))  # it has those of another result


def forgetResult(drawnNode: vtkMRMLSegmentationNode) -> None:
    """The result of a drawing was applied or removed; what was learned stays."""
    for role in ROLES.values():
        drawnNode.SetNodeReferenceID(role, None)
    drawnNode.SetAttribute(FIGURES_ATTRIBUTE, None)


def rememberedWeights(drawnNode: vtkMRMLSegmentationNode) -> str:
    """What was learned from a drawing, a checkpoint as base64; empty if nothing is kept."""
    node = drawnNode.GetNodeReference(WEIGHTS_ROLE)
    return "" if node is None else node.GetText() or ""


def _weightsNode(drawnNode: vtkMRMLSegmentationNode) -> vtkMRMLTextNode:
    node = drawnNode.GetNodeReference(WEIGHTS_ROLE)
    if node is None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", f"{drawnNode.GetName()} learned by SparseSeg")
        node.SetHideFromEditors(True)
        node.SetForceCreateStorageNode(node.CreateStorageNodeAlways)
        drawnNode.SetNodeReferenceID(WEIGHTS_ROLE, node.GetID())
    return node


def rememberedResult(drawnNode: vtkMRMLSegmentationNode) -> tuple[DenseResult, list[str], float] | None:
    """The result, segments and opacity that :func:`rememberResult` kept; None if there is none, or it is gone."""
    text = drawnNode.GetAttribute(FIGURES_ATTRIBUTE)
    nodes = {name: drawnNode.GetNodeReference(role) for name, role in ROLES.items()}
    shown = nodes["labelmapNode"] or nodes["segmentationNode"]
    if not text or shown is None or nodes["uncertaintyNode"] is None:
        return None
    figures = json.loads(text)
    segmentIds, opacity, plane = (figures.pop(name) for name in ("segmentIds", "opacity", "nextSlice"))
    result = DenseResult(**nodes, nextSlice=None if plane is None else Plane(*plane), **figures)
    return result, segmentIds, opacity
