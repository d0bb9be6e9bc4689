"""Panel: the region of interest that the user chose."""

from __future__ import annotations

from SparseSegModule.regionBox import annotatedRegion
from SparseSegModule.regions import fitRegion
from SparseSegModule.volumes import volumeGeometry


class RegionPart:
    """Lays a region around what is annotated."""

    def __init__(self, panel) -> None:
        self.panel = panel
        ui = panel.ui
        ui.regionSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._fit)
        ui.fitRegionButton.connect("clicked()", lambda: self._fit(panel.parameterNode.region))

    def refresh(self) -> None:
        """Follow the parameter node."""
        node, loop = self.panel.parameterNode, self.panel.session.loop
        self.panel.ui.fitRegionButton.enabled = node is not None and node.region is not None and loop is not None

    def cleanup(self) -> None:
        """Nothing to let go of."""

    def _fit(self, roiNode) -> None:
        """Lay a region around what is annotated, or around the volume where nothing is."""
        loop = self.panel.session.loop
        if loop is None or roiNode is None:
            return
        z, y, x = (slice(0, size) for size in volumeGeometry(loop.volumeNode).shape)
        fitRegion(roiNode, loop.volumeNode, annotatedRegion(loop, self.panel.parameterNode.margin) or (z, y, x))
