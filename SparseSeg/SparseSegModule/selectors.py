"""The panel's node selectors: they never choose the neighbor of a deleted node, or a node that SparseSeg made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import qt
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


def hideMade(selectors: Iterable) -> None:
    """Leave what SparseSeg made out of the lists of selectors (qMRMLNodeComboBox)."""
    kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
    made = [node.GetID() for kind in kinds for node in slicer.util.getNodesByClass(kind) if isMade(node)]
    for selector in selectors:
        selector.sortFilterProxyModel().hiddenNodeIDs = made


class NewNodes(VTKObservationMixin):
    """Tells which nodes have come into the scene, as soon as they have their image and attributes.

    Parameters
    ----------
    onNew : called with a list of nodes that are still there; with an empty one when the scene was closed
    """

    def __init__(self, onNew: Callable[[list], None]) -> None:
        VTKObservationMixin.__init__(self)
        self._onNew = onNew
        self._nodes: list = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._tell)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.NodeAddedEvent, self._onAdded)
        self.addObserver(scene, scene.EndBatchProcessEvent, self._onReady)
        self.addObserver(scene, scene.EndCloseEvent, self._onClosed)

    def stop(self) -> None:
        """Tell nothing more."""
        self._timer.stop()
        self.removeObservers()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onAdded(self, _scene: Any, _event: str, node: Any) -> None:
        self._nodes.append(node)
        self._timer.start()

    def _onReady(self, _scene: Any, _event: str) -> None:
        self._timer.start()

    def _onClosed(self, _scene: Any, _event: str) -> None:
        self._nodes = []
        self._onNew([])

    def _tell(self) -> None:
        if slicer.mrmlScene.IsBatchProcessing():  # the end of which starts the timer again
            return
        nodes, self._nodes = self._nodes, []
        self._onNew([node for node in nodes if node.GetScene() is slicer.mrmlScene])
