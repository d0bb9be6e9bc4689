"""The box that shows the region which is worked on, where the user has chosen none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer

from SparseSegLib.image import Box
from SparseSegModule.loop import AnnotationLoop
from SparseSegModule.parameterNode import SparseSegParameterNode
from SparseSegModule.regions import showRegion
from SparseSegModule.segments import editableStyles
from SparseSegModule.volumes import volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLMarkupsROINode


class RegionBox:
    """Is in the views while it is wanted: a face is on the screen.

    Attributes
    ----------
    wanted : whether it is
    shownNode : the box, or None
    """

    def __init__(self) -> None:
        self.wanted = False
        self.shownNode: vtkMRMLMarkupsROINode | None = None

    def refresh(self, parameterNode: SparseSegParameterNode | None, loop: AnnotationLoop | None) -> None:
        """Follow the user's choices and the annotation."""
        box = None
        if self.wanted and parameterNode is not None and parameterNode.region is None and loop is not None:
            box = annotatedRegion(loop, parameterNode.margin)
        if box is not None:
            self.shownNode = showRegion(loop.volumeNode, box, self.shownNode)
            return
        if self.shownNode is not None and self.shownNode.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self.shownNode)
        self.shownNode = None


def annotatedRegion(loop: AnnotationLoop, margin: float) -> Box | None:
    """The region around what is drawn of the segments that are worked on, on the annotated slices; None if nothing is.

    Strokes off these slices, which the region of the learning takes in as well, are not looked for.
    """
    from SparseSegLib.densify.region import region_around

    values, places = [*editableStyles(loop.segmentationNode)], []
    for plane in loop.table.finished:
        drawn = np.argwhere(np.isin(loop.labels[plane.voxels], values))
        places.append(np.insert(drawn, plane.axis, plane.index, axis=1))
    found = np.concatenate(places) if places else np.empty((0, 3), int)
    if not len(found):
        return None
    z, y, x = (slice(int(low), int(high) + 1) for low, high in zip(found.min(0), found.max(0), strict=True))
    return region_around((z, y, x), loop.table.finished, volumeGeometry(loop.volumeNode), margin)
