"""What is drawn in a segmentation, and what of it has changed since the last look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer

from SparseSegLib.annotation import Plane
from SparseSegModule.segmentLabels import boxAround, classLabels, sliceLabels
from SparseSegModule.segments import classSegmentIds
from SparseSegModule.volumes import volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


class DrawnLabels:
    """The classes drawn on a volume, as of the last look.

    Attributes
    ----------
    array : (Z, Y, X) uint8
    """

    def __init__(self, volumeNode: vtkMRMLScalarVolumeNode, segmentationNode: vtkMRMLSegmentationNode) -> None:
        self._volumeNode = volumeNode
        self._segmentationNode = segmentationNode
        self.read()

    def read(self) -> None:
        """Look at everything."""
        self._state = self._stateNow()
        drawn = classLabels(self._segmentationNode, self._volumeNode)
        self._box = drawn.box  # nothing was drawn outside of it
        self.array = drawn.whole(volumeGeometry(self._volumeNode).shape)

    def sliceNow(self, plane: Plane) -> np.ndarray:
        """The classes on a slice ``(U, V)`` as they are now."""
        return sliceLabels(self._segmentationNode, self._volumeNode, plane)

    def changedOn(self, plane: Plane) -> np.ndarray:
        """Look at the one slice that changed; its voxels (z, y, x) ``(N, 3)`` that did."""
        self._state = self._stateNow()
        now, before = self.sliceNow(plane), self.array[plane.voxels]
        places = np.argwhere(now != before)
        before[tuple(places.T)] = now[tuple(places.T)]
        changed = np.insert(places, plane.axis, plane.index, axis=1)
        if len(changed):
            z, y, x = (slice(*side) for side in zip(changed.min(0), changed.max(0) + 1, strict=True))
            self._box = boxAround([self._box, (z, y, x)])
        return changed

    def changedAnywhere(self) -> np.ndarray:
        """Look at everything, if anything was drawn; the voxels (z, y, x) ``(N, 3)`` that changed."""
        if self._stateNow() == self._state:  # a name, a color or the table of slices is another one
            return np.empty((0, 3), int)
        before, around = self.array, self._box
        self.read()
        box = boxAround([around, self._box])
        return np.argwhere(before[box] != self.array[box]) + [side.start for side in box]

    def _stateNow(self) -> list[tuple]:
        """The classes, and when their labelmaps were last changed."""
        segmentation = self._segmentationNode.GetSegmentation()
        name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
        state = []
        for segmentId in classSegmentIds(self._segmentationNode):
            segment = segmentation.GetSegment(segmentId)
            image = segment.GetRepresentation(name)
            state.append((segmentId, segment.GetLabelValue(), image.GetMTime() if image is not None else 0))
        return state
