"""The panel's node selectors: they never choose the neighbor of a deleted node, or a node that SparseSeg made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from SparseSegModule.results import INPUT_ATTRIBUTE


class NodeSelectors(VTKObservationMixin):
    """Clears the panel's selectors when their node is about to leave the scene.

    A qMRMLNodeComboBox would go on with the next node of its list, whatever that is.

    Parameters
    ----------
    listed : returns the selectors (qMRMLNodeComboBox) as they are now
    letGo : called with the node before that
    """

    def __init__(self, listed: Callable[[], list], letGo: Callable[[Any], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._listed = listed
        self._letGo = letGo
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self._onRemoval)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onRemoval(self, scene: Any, _event: str, node: Any) -> None:
        if scene.IsClosing():
            return
        self._letGo(node)
        for selector in self._listed():
            if selector.currentNode() is node:
                selector.setCurrentNode(None)


def isMade(node: Any) -> bool:
    """Whether SparseSeg made a node: a result, an uncertainty map or a preview."""
    return node is not None and node.GetAttribute(INPUT_ATTRIBUTE) is not None
