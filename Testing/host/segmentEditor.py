"""A stand-in of the Segment Editor's widget, over Slicer's own logic of the Segment Editor."""

from contextlib import nullcontext
from typing import Any

import shiboken6
import slicer
from PySide6.QtCore import Property, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QGridLayout, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from .editorEffects import EditorEffects
from .effects import NAMES
from .mrmlWidgets import _SceneHolder, qMRMLSegmentsTableView
from .standin import standIn, stored

OPTIONS_WIDTH = {"Paint": 384, "Erase": 384}
"""How many pixels the options of an effect need."""


@standIn("slicer")
class qMRMLSegmentEditorWidget(EditorEffects, _SceneHolder, QWidget):
    """Edits a segmentation: it chooses nodes, segment and effect, and really undoes."""

    currentSegmentIDChanged = Signal(str)
    sourceVolumeNodeChanged = Signal(object)
    segmentationNodeChanged = Signal(object)
    _signatures = {  # noqa: RUF012
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)": "sourceVolumeNodeChanged(PyObject)",
        "segmentationNodeChanged(vtkMRMLSegmentationNode*)": "segmentationNodeChanged(PyObject)",
    }

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._shown, self._nodeTag = (None, None, ""), None
        self._order = list(NAMES)
        self._registered, self._active, self._lastActive = [], None, None
        self._shortcuts = []
        self._segments, self._effects, self._options, self._buttons = QListWidget(), QWidget(), QWidget(), {}
        self._segments.setMaximumHeight(90)
        QGridLayout(self._effects).setContentsMargins(0, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._segments)
        layout.addWidget(self._effects)
        layout.addWidget(self._options)
        QVBoxLayout(self._options).setContentsMargins(0, 0, 0, 0)
        qMRMLSegmentsTableView(self).hide()
        self._segments.itemClicked.connect(lambda item: self.setCurrentSegmentID(item.data(Qt.ItemDataRole.UserRole)))
        self.updateEffectList()

    segmentationNodeSelectorVisible = stored(bool, "segmentationNodeSelectorVisible", True)
    sourceVolumeNodeSelectorVisible = stored(bool, "sourceVolumeNodeSelectorVisible", True)
    maskingSectionVisible = stored(bool, "maskingSectionVisible", True)
    specifyGeometryButtonVisible = stored(bool, "specifyGeometryButtonVisible", True)
    show3DButtonVisible = stored(bool, "show3DButtonVisible", True)
    addRemoveSegmentButtonsVisible = stored(bool, "addRemoveSegmentButtonsVisible", True)
    switchToSegmentationsButtonVisible = stored(bool, "switchToSegmentationsButtonVisible", True)
    autoShowSourceVolumeNode = stored(bool, "autoShowSourceVolumeNode", True)
    undoEnabled = stored(bool, "undoEnabled", True)
    readOnly = stored(bool, "readOnly", False)
    effectButtonStyle = stored(int, "effectButtonStyle", 0)
    effectColumnCount = stored(int, "effectColumnCount", 2)
    unorderedEffectsVisible = stored(bool, "unorderedEffectsVisible", True, "updateEffectList")
    defaultTerminologyEntrySettingsKey = stored(str, "defaultTerminologyEntrySettingsKey", "")
    defaultTerminologyEntry = stored(str, "defaultTerminologyEntry", "")
    jumpToSelectedSegmentEnabled = stored(bool, "jumpToSelectedSegmentEnabled", False)

    def _setMaximumNumberOfUndoStates(self, count: int) -> None:
        self._logic.SetMaximumNumberOfUndoStates(count)

    maximumNumberOfUndoStates = Property(
        int, lambda self: self._logic.GetMaximumNumberOfUndoStates(), _setMaximumNumberOfUndoStates
    )

    def setMRMLScene(self, scene: Any) -> None:
        """Follow another scene."""
        self._logic.SetMRMLScene(scene)
        super().setMRMLScene(scene)

    def mrmlSegmentEditorNode(self) -> Any:
        """Return the node that holds the editor's state."""
        return self._logic.GetSegmentEditorNode()

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        """Take the node that holds the editor's state."""
        before = self._logic.GetSegmentEditorNode()
        if before is not None and self._nodeTag is not None:
            before.RemoveObserver(self._nodeTag)
        self._logic.SetSegmentEditorNode(node)
        self._nodeTag = node.AddObserver("ModifiedEvent", self._onNodeModified) if node else None
        for effect in self._registered:
            effect.setParameterSetNode(node)
            effect.setMRMLDefaults()
        self.updateWidgetFromMRML()

    def _onNodeModified(self, node: Any, _event: str) -> None:
        if shiboken6.isValid(self):
            self.updateWidgetFromMRML()
        else:  # Qt has deleted it, which ends a widget's observations
            node.RemoveObserver(self._nodeTag)

    def _needNode(self) -> None:
        if self._logic.GetSegmentEditorNode() is None:
            raise RuntimeError("qMRMLSegmentEditorWidget: call setMRMLSegmentEditorNode first")

    def segmentationNode(self) -> Any:
        """Return the edited segmentation."""
        node = self.mrmlSegmentEditorNode()
        return node.GetSegmentationNode() if node else None

    def segmentationNodeID(self) -> str:
        """Return the edited segmentation's ID."""
        node = self.segmentationNode()
        return node.GetID() if node else ""

    def sourceVolumeNode(self) -> Any:
        """Return the volume under the segmentation."""
        node = self.mrmlSegmentEditorNode()
        return node.GetSourceVolumeNode() if node else None

    def sourceVolumeNodeID(self) -> str:
        """Return the volume's ID."""
        node = self.sourceVolumeNode()
        return node.GetID() if node else ""

    def setSegmentationNode(self, node: Any) -> None:
        """Edit another segmentation; its reference volume becomes the source volume, its first segment the current."""
        self._needNode()
        if node is self.segmentationNode():
            return
        self._logic.SetSegmentationNode(node)
        self.setActiveEffect(None)
        if node is not None:
            role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
            self.setSourceVolumeNode(node.GetNodeReference(role))
            node.CreateDefaultDisplayNodes()
            segmentation = node.GetSegmentation()
            first = segmentation.GetNthSegmentID(0) if segmentation.GetNumberOfSegments() else ""
            self.setCurrentSegmentID(first)
        self.updateWidgetFromMRML()

    def setSegmentationNodeID(self, nodeID: str) -> None:
        """Edit the segmentation of that ID."""
        self.setSegmentationNode(self._scene.GetNodeByID(nodeID))

    def setSourceVolumeNode(self, node: Any) -> None:
        """Set the volume; an empty segmentation takes its geometry."""
        self._needNode()
        self._logic.SetSourceVolumeNode(node)
        self.updateWidgetFromMRML()

    def setSourceVolumeNodeID(self, nodeID: str | None) -> None:
        """Set the volume of that ID."""
        self.setSourceVolumeNode(self._scene.GetNodeByID(nodeID) if nodeID else None)

    def currentSegmentID(self) -> str:
        """Return the ID of the segment that is edited."""
        node = self.mrmlSegmentEditorNode()
        return (node.GetSelectedSegmentID() or "") if node else ""

    def setCurrentSegmentID(self, segmentID: str) -> None:
        """Edit another segment."""
        self._needNode()
        self.mrmlSegmentEditorNode().SetSelectedSegmentID(segmentID)

    def saveStateForUndo(self) -> None:
        """Remember the segmentation as it is."""
        if self.undoEnabled:
            self._logic.SaveStateForUndo()

    def undo(self) -> None:
        """Go back to the segmentation as it was remembered."""
        self._logic.Undo()

    def redo(self) -> None:
        """Go forward again."""
        self._logic.Redo()

    def selectSegmentAtOffset(self, offset: int) -> None:
        """Edit the next visible segment (1), after the last one the first, or the one before (-1), if there is one."""
        node = self.segmentationNode()
        ids = list(node.GetSegmentation().GetSegmentIDs()) if node else []
        if self.currentSegmentID() not in ids:
            return
        place = ids.index(self.currentSegmentID())
        for _ in ids:
            place = max(0, place + offset) % len(ids)
            if node.GetDisplayNode().GetSegmentVisibility(ids[place]):
                self.setCurrentSegmentID(ids[place])
                return

    def setupViewObservations(self) -> None:
        """Listen to the mouse in the views."""
        self._observing = True

    def removeViewObservations(self) -> None:
        """Stop listening to the mouse in the views."""
        self._observing = False

    def updateWidgetFromMRML(self) -> None:
        """Show the nodes, segments and effect as they are, and say what changed."""
        node = self.mrmlSegmentEditorNode()
        with slicer.util.NodeModify(node) if node is not None else nullcontext():
            self._show()

    def _show(self) -> None:
        self._useEffect()
        state = (self.segmentationNode(), self.sourceVolumeNode(), self.currentSegmentID())
        before, self._shown = self._shown, state
        self._segments.clear()
        segmentation = state[0].GetSegmentation() if state[0] else None
        for index in range(segmentation.GetNumberOfSegments() if segmentation else 0):
            segment = segmentation.GetNthSegment(index)
            item = QListWidgetItem(segment.GetName())
            item.setData(Qt.ItemDataRole.UserRole, segmentation.GetNthSegmentID(index))
            item.setData(Qt.ItemDataRole.DecorationRole, QColor.fromRgbF(*segment.GetColor()))
            self._segments.addItem(item)
            item.setSelected(segmentation.GetNthSegmentID(index) == state[2])
        active = self.activeEffect()
        self._options.setMinimumWidth(OPTIONS_WIDTH.get(active.name if active else "", 0))
        for name, button in self._buttons.items():
            button.setChecked(active is not None and name == active.name)
        signals = (self.segmentationNodeChanged, self.sourceVolumeNodeChanged, self.currentSegmentIDChanged)
        if state[1] is not None and state[1] is not before[1] and self.autoShowSourceVolumeNode:
            slicer.util.setSliceViewerLayers(background=state[1])
        for old, new, signal in zip(before, state, signals, strict=True):
            if old != new:
                signal.emit(new)
        if state[1] is not before[1]:
            for effect in self._registered:
                effect.sourceVolumeNodeChanged()

    def _sceneChanged(self) -> None:
        if self.__dict__.get("_logic") and self.mrmlSegmentEditorNode():
            self.updateWidgetFromMRML()
