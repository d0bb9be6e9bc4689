"""The region of interest as a box in the views: one that the user drew, and the one that is worked on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import slicer

from SparseSegLib.errors import GeometryError
from SparseSegLib.image import Box
from SparseSegModule.volumes import ijkToRas, matrixFromVtk, transformBetween, vtkFromMatrix

if TYPE_CHECKING:
    from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode

NEARLY = 1e-6  # voxels
OPACITY = 0.5
"""Of the box that shows the region; the images are to be seen."""


def regionBox(roiNode: vtkMRMLMarkupsROINode, volumeNode: vtkMRMLScalarVolumeNode) -> Box:
    """The voxels of a volume whose centers lie in a region; of one that is oblique to the grid, in the box around it.

    It may reach beyond the volume. Raises GeometryError where a transform between the two is not linear.
    """
    between = transformBetween(roiNode, volumeNode)
    if between is None:
        raise GeometryError(
            "The region or the volume is under a transform that is not linear.", "Harden the transform."
        )
    toVoxels = np.linalg.inv(ijkToRas(volumeNode)) @ between @ matrixFromVtk(roiNode.GetObjectToNodeMatrix())
    corners = np.array([*itertools.product(*((-side / 2, side / 2) for side in roiNode.GetSize()), [1.0])])
    places = (corners @ toVoxels.T)[:, :3]
    low = np.ceil(places.min(0) - NEARLY).astype(int)
    high = np.floor(places.max(0) + NEARLY).astype(int) + 1
    x, y, z = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return z, y, x


def fitRegion(roiNode: vtkMRMLMarkupsROINode, volumeNode: vtkMRMLScalarVolumeNode, box: Box) -> None:
    """Lay a region around voxels of a volume, along its grid."""
    matrix = ijkToRas(volumeNode)
    start, stop = (np.array([getattr(side, end) for side in box[::-1]], float) for end in ("start", "stop"))
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    toRas = np.eye(4)
    toRas[:3, :3] = matrix[:3, :3] / spacing
    toRas[:3, 3] = (matrix @ [*((start + stop - 1) / 2), 1])[:3]
    roiNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    roiNode.GetObjectToNodeMatrix().DeepCopy(vtkFromMatrix(toRas))
    roiNode.SetSize(*((stop - start) * spacing))


def showRegion(
    volumeNode: vtkMRMLScalarVolumeNode, box: Box, node: vtkMRMLMarkupsROINode | None = None
) -> vtkMRMLMarkupsROINode:
    """Show voxels of a volume as a box that cannot be moved; ``node`` is the one that showed another box before."""
    if node is None or node.GetScene() is None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region that is worked on")
        node.CreateDefaultDisplayNodes()
        node.SetLocked(True)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        display = node.GetDisplayNode()
        display.SetHandlesInteractive(False)
        display.SetFillVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetOpacity(OPACITY)
        display.SetSaveWithScene(False)
    fitRegion(node, volumeNode, box)
    for number in range(node.GetNumberOfControlPoints()):
        node.SetNthControlPointVisibility(number, False)
    return node
