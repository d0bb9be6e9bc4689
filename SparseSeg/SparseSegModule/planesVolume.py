"""Which volume a table of annotated slices is of, on which grid, and of which frame; kept with the segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from SparseSegLib.image import Geometry
from SparseSegModule.sequences import noteFrame
from SparseSegModule.volumes import volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

VOLUME_ROLE = "SparseSeg.planesVolume"
GRID_ATTRIBUTE = "SparseSeg.planesGrid"


def noteVolume(segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode) -> None:
    """Note that the segmentation's table is of this volume as it is now."""
    segmentationNode.SetNodeReferenceID(VOLUME_ROLE, volumeNode.GetID())
    segmentationNode.SetAttribute(GRID_ATTRIBUTE, _gridText(volumeGeometry(volumeNode)))
    noteFrame(segmentationNode, volumeNode)


def isTableOf(segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode) -> bool:
    """Whether the segmentation's table is of this volume, with the grid that it has now."""
    if segmentationNode.GetNodeReference(VOLUME_ROLE) is not volumeNode:
        return False
    grid = segmentationNode.GetAttribute(GRID_ATTRIBUTE)
    return grid is None or _isGrid(grid, volumeGeometry(volumeNode))


def _gridText(geometry: Geometry) -> str:
    """A grid as text: how many voxels along z, y, x, and from their indices to LPS."""
    return " ".join(f"{number:.9g}" for number in (*geometry.shape, *geometry.affine()[:3].ravel()))


def _isGrid(text: str, geometry: Geometry) -> bool:
    """Whether a text of :func:`_gridText` is of this grid, as files round it."""
    numbers = np.array(text.split(), float)
    shape, affine = numbers[:3], numbers[3:].reshape(3, 4)
    return bool((shape == geometry.shape).all() and np.allclose(affine, geometry.affine()[:3], atol=1e-3))
