"""Stand-ins of Slicer's widgets for MRML nodes, over a real scene."""

from typing import Any

import shiboken6
import slicer
import vtk
from PySide6.QtCore import Property, QObject, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from .ctkWidgets import ctkDoubleSpinBox, ctkSliderWidget
from .standin import standIn, stored

SCENE_EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndBatchProcessEvent", "EndCloseEvent", "EndImportEvent")
LATE = -10.0  # Slicer's lists of nodes hear of a removal after all others


class _SceneHolder:
    """Holds the scene that a widget was given, and watches it."""

    _scene = None
    _sceneTags = ()

    def mrmlScene(self) -> Any:
        """Return the scene."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Follow another scene."""
        if scene is self._scene:
            return
        for tag in self._sceneTags:
            self._scene.RemoveObserver(tag)
        self._scene, self._sceneTags = scene, []
        if scene is not None:
            events = [getattr(slicer.vtkMRMLScene, name) for name in SCENE_EVENTS]
            self._sceneTags = [scene.AddObserver(event, self._onSceneEvent) for event in events]
            self._sceneTags.append(scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._onRemoval, LATE))
        self._sceneChanged()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onRemoval(self, scene: Any, _event: str, node: Any) -> None:
        if shiboken6.isValid(self) and not scene.IsClosing():
            self._nodeGoes(node)

    def _nodeGoes(self, node: Any) -> None:
        """A node is about to leave the scene."""

    def _onSceneEvent(self, scene: Any, _event: str) -> None:
        if not shiboken6.isValid(self):  # Qt has deleted it, which ends a widget's observations
            while self._sceneTags:
                scene.RemoveObserver(self._sceneTags.pop())
        elif not scene.IsBatchProcessing():
            self._sceneChanged()

    def _sceneChanged(self) -> None:
        """Look at the scene again."""


@standIn("slicer")
class qMRMLWidget(_SceneHolder, QWidget):
    """The root of a module's panel: hands its scene on to what the .ui file connects to it."""

    mrmlSceneChanged = Signal(object)
    _signatures = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}  # noqa: RUF012

    def setMRMLScene(self, scene: Any) -> None:
        """Take the scene, and tell it to the children."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@standIn("slicer")
class qMRMLSortFilterProxyModel(QObject):
    """Tells which nodes a list leaves out."""

    hiddenNodeIDs = stored("QStringList", "hiddenNodeIDs", [], "_changed")

    def _changed(self) -> None:
        self.parent()._sceneChanged()


@standIn("slicer")
class qMRMLNodeComboBox(_SceneHolder, QWidget):
    """Chooses one node of given classes; follows the scene."""

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    currentNodeRenamed = Signal(str)
    _signatures = {  # noqa: RUF012
        f"{name}(vtkMRMLNode*)": f"{name}(PyObject)"
        for name in ("currentNodeChanged", "nodeActivated", "nodeAdded", "nodeAddedByUser")
    }

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._currentID, self._requestedID, self._attributes = "", "", []
        self._filter = qMRMLSortFilterProxyModel(self)
        self._comboBox = QComboBox()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._comboBox)
        self._comboBox.activated.connect(self._activate)

    sizeAdjustPolicy = Property(
        QComboBox.SizeAdjustPolicy,
        lambda self: self._comboBox.sizeAdjustPolicy,
        lambda self, policy: self._comboBox.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy(policy)),
    )
    nodeTypes = stored("QStringList", "nodeTypes", [], "_sceneChanged")
    noneEnabled = stored(bool, "noneEnabled", False, "_sceneChanged")
    noneDisplay = stored(str, "noneDisplay", "None", "_sceneChanged")
    showHidden = stored(bool, "showHidden", False, "_sceneChanged")
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True, "_sceneChanged")
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", [], "_sceneChanged")
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "")
    currentNodeID = Property(str, lambda self: self._currentID, lambda self, value: self._select(value))
    currentNodeId = Property(str, lambda self: self._currentID, lambda self, value: self._select(value))
    baseName = stored(str, "baseName", "")

    def sortFilterProxyModel(self) -> qMRMLSortFilterProxyModel:
        """Return what decides about the list."""
        return self._filter

    def addAttribute(self, nodeType: str, name: str, value: Any = None) -> None:
        """List only nodes of that type that have the attribute (with that value)."""
        self._attributes.append((nodeType, name, value))
        self._sceneChanged()

    def _accepts(self, node: Any) -> bool:
        types = self.nodeTypes
        if node.GetClassName() not in types and not (self.showChildNodeTypes and any(map(node.IsA, types))):
            return False
        if node.GetID() in self._filter.hiddenNodeIDs or any(map(node.IsA, self.hideChildNodeTypes)):
            return False
        for nodeType, name, value in self._attributes:
            has = node.GetAttribute(name)
            if node.IsA(nodeType) and (has is None or (value is not None and has != str(value))):
                return False
        return self.showHidden or not node.GetHideFromEditors()

    def nodes(self) -> list:
        """Return the nodes that can be chosen."""
        scene = self._scene
        every = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())] if scene else []
        return [node for node in every if self._accepts(node)]

    def nodeCount(self) -> int:
        """Return how many nodes can be chosen."""
        return len(self.nodes())

    def nodeFromIndex(self, index: int) -> Any:
        """Return the node at a place of the list."""
        nodes = self.nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def currentNode(self) -> Any:
        """Return the chosen node or None."""
        return self._scene.GetNodeByID(self._currentID) if self._scene and self._currentID else None

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node, or a node of that ID, or none."""
        self._select(node if isinstance(node, str) else node.GetID() if node else "")

    def setCurrentNodeIndex(self, index: int) -> None:
        """Choose the node at a place of the list."""
        self.setCurrentNode(self.nodeFromIndex(index))

    def addNode(self, nodeType: str = "") -> Any:
        """Add a node as the user does with the entry 'Create new'."""
        nodeType = nodeType or self.nodeTypes[0]
        stem = self.baseName or self._scene.GetTagByClassName(nodeType)
        node = self._scene.AddNewNodeByClass(nodeType, self._scene.GenerateUniqueName(stem))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """Remove the chosen node from the scene."""
        self._scene.RemoveNode(self.currentNode())

    def _select(self, nodeID: str | None) -> None:
        """Make a node the current one and say so; an ID that cannot be chosen means none."""
        if self._scene is None:
            self._requestedID = nodeID or ""
        nodes = self.nodes()
        nodeID = nodeID if nodeID in [node.GetID() for node in nodes] else ""
        if not nodeID and not self.noneEnabled and nodes:
            nodeID = nodes[0].GetID()
        changed, self._currentID = nodeID != self._currentID, nodeID
        self._comboBox.setCurrentIndex(self._comboBox.findData(nodeID))
        if changed:
            node = self.currentNode()
            self.currentNodeChanged[object].emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(nodeID)

    def _activate(self, _index: int) -> None:
        self._select(self._comboBox.currentData)
        self.nodeActivated.emit(self.currentNode())

    def _nodeGoes(self, node: Any) -> None:
        """As Slicer's: the row of the current node goes, and the list stays where it is, on a neighbor."""
        if node.GetID() != self._currentID or not self._currentID:
            return
        ids = [each.GetID() for each in self.nodes()]
        row = ids.index(self._currentID)
        ids.remove(self._currentID)
        if ids:
            self._select(ids[min(row, len(ids) - 1)])

    def _sceneChanged(self) -> None:
        self._comboBox.clear()
        if self.noneEnabled:
            self._comboBox.addItem(self.noneDisplay, "")
        for node in self.nodes():
            self._comboBox.addItem(node.GetName(), node.GetID())
        self._select(self._requestedID or self._currentID)
        if self._scene is not None:
            self._requestedID = ""


@standIn("slicer")
class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Chooses any number of nodes with check marks."""

    checkedNodesChanged = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._checkedIDs: set[str] = set()
        self._refilling = False

    def nodes(self) -> list:
        """Return the nodes that can be chosen."""
        return [] if self.__dict__.get("_refilling") else super().nodes()

    def setMRMLScene(self, scene: Any) -> None:
        """Follow another scene."""
        super().setMRMLScene(scene)
        if scene is not None:
            self._sceneTags.append(scene.AddObserver(scene.EndImportEvent, self._refill))

    def _refill(self, _scene: Any, _event: str) -> None:
        """As Slicer's: when a scene was loaded, the list is filled anew, and says so while it is empty."""
        if shiboken6.isValid(self):
            self._refilling, self._checkedIDs = True, set()
            self.checkedNodesChanged.emit()
            self._refilling = False

    def checkedNodes(self) -> list:
        """Return the nodes that have a check mark."""
        return [node for node in self.nodes() if node.GetID() in self._checkedIDs]

    def uncheckedNodes(self) -> list:
        """Return the other nodes."""
        return [node for node in self.nodes() if node.GetID() not in self._checkedIDs]

    def allChecked(self) -> bool:
        """Return whether every node has a check mark."""
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        """Return whether no node has a check mark."""
        return not self.checkedNodes()

    def checkState(self, node: Any) -> Qt.CheckState:
        """Return a node's check mark."""
        return Qt.CheckState.Checked if node.GetID() in self._checkedIDs else Qt.CheckState.Unchecked

    def setCheckState(self, node: Any, state: Any) -> None:
        """Set a node's check mark."""
        before = set(self._checkedIDs)
        change = self._checkedIDs.add if Qt.CheckState(state) == Qt.CheckState.Checked else self._checkedIDs.discard
        change(node.GetID())
        if before != self._checkedIDs:
            self.checkedNodesChanged.emit()

    def check(self, node: Any) -> None:
        """Give a node its check mark."""
        self.setCheckState(node, Qt.CheckState.Checked)

    def uncheck(self, node: Any) -> None:
        """Take a node's check mark away."""
        self.setCheckState(node, Qt.CheckState.Unchecked)

    def _sceneChanged(self) -> None:
        super()._sceneChanged()
        kept = self.__dict__.get("_checkedIDs", set()) & {node.GetID() for node in self.nodes()}
        if kept != self.__dict__.get("_checkedIDs", kept):
            self._checkedIDs = kept
            self.checkedNodesChanged.emit()


@standIn("slicer")
class qMRMLSliderWidget(_SceneHolder, ctkSliderWidget):
    """A slider that knows the scene's units."""

    quantity = stored(str, "quantity", "")


@standIn("slicer")
class qMRMLSpinBox(_SceneHolder, ctkDoubleSpinBox):
    """A spin box that knows the scene's units."""

    quantity = stored(str, "quantity", "")


@standIn("slicer")
class qMRMLPlotView(_SceneHolder, QWidget):
    """A place for a plot; it keeps the node and draws nothing."""

    def mrmlPlotViewNode(self) -> Any:
        """Return the plot's view node."""
        return self.__dict__.get("_viewNode")

    def setMRMLPlotViewNode(self, node: Any) -> None:
        """Take the plot's view node."""
        self._viewNode = node

    def fitToContent(self) -> None:
        """Show the whole plot."""


@standIn("slicer")
class qMRMLPlotWidget(qMRMLPlotView):
    """A plot with its controls."""

    def plotView(self) -> qMRMLPlotView:
        """Return the plot's view."""
        return self


@standIn("slicer")
class qMRMLSegmentsTableView(_SceneHolder, QWidget):
    """A place for the table of segments."""

    selectionChanged = Signal(object, object)
    useTerminologySelectorSettingsKey = stored(
        str, "useTerminologySelectorSettingsKey", "Segmentations/UseTerminologySelector"
    )
    useTerminologySelector = Property(bool, lambda self: bool(self.useTerminologySelectorSettingsKey))

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        QVBoxLayout(self)

    def setSegmentationNode(self, node: Any) -> None:
        """Take the segmentation."""
        self._segmentationNode = node

    def segmentationNode(self) -> Any:
        """Return the segmentation."""
        return self.__dict__.get("_segmentationNode")
