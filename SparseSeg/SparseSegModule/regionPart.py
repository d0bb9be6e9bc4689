"""Panel: the region of interest that the user chose, and the box that shows which one is worked on."""

from __future__ import annotations

import numpy as np
import slicer

from SparseSegLib.image import Box
from SparseSegModule.face import Face
from SparseSegModule.loop import AnnotationLoop
from SparseSegModule.regions import fitRegion, showRegion
from SparseSegModule.segments import editableStyles
from SparseSegModule.volumes import volumeGeometry


class RegionPart(Face):
    """Shows the region that is worked on while the panel is open and the user has chosen none."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self.shownNode = None
        ui = panel.ui
        ui.regionSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._fit)
        ui.fitRegionButton.connect("clicked()", lambda: self._fit(panel.parameterNode.region))
        panel.session.faces.append(self)

    def refresh(self) -> None:
        """Follow the parameter node and the annotation."""
        node, loop = self.panel.parameterNode, self.panel.session.loop
        self.panel.ui.fitRegionButton.enabled = node is not None and node.region is not None and loop is not None
        box = None
        if node is not None and node.region is None and loop is not None and self.panel.parent.isEntered:
            box = annotatedRegion(loop, node.margin)
        if box is None:
            self._hide()
        else:
            self.shownNode = showRegion(loop.volumeNode, box, self.shownNode)

    def onAnnotated(self) -> None:
        """The annotation has changed."""
        self.refresh()

    def cleanup(self) -> None:
        """The panel goes."""
        self._hide()

    def exit(self) -> None:
        """Another module is shown."""
        self._hide()

    def _hide(self) -> None:
        if self.shownNode is not None and self.shownNode.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self.shownNode)
        self.shownNode = None

    def _fit(self, roiNode) -> None:
        """Lay a region around what is annotated, or around the volume where nothing is."""
        loop = self.panel.session.loop
        if loop is None or roiNode is None:
            return
        z, y, x = (slice(0, size) for size in volumeGeometry(loop.volumeNode).shape)
        fitRegion(roiNode, loop.volumeNode, annotatedRegion(loop, self.panel.parameterNode.margin) or (z, y, x))


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
