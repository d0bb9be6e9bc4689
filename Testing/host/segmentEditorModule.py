"""A stand-in of Slicer's module Segment Editor, which is a scripted one: its panel does what Slicer's does."""

from typing import Any

import slicer
from PySide6.QtWidgets import QVBoxLayout
from slicer.util import VTKObservationMixin

from .modules import LogicModule
from .mrmlWidgets import qMRMLWidget
from .segmentEditor import qMRMLSegmentEditorWidget

TAG = "SegmentEditor"


class SegmentEditorWidget(VTKObservationMixin):
    """The Python object of the panel, with the editor."""

    def __init__(self, parent: qMRMLWidget) -> None:
        VTKObservationMixin.__init__(self)
        self.parent, self.parameterSetNode = parent, None
        self.editor = qMRMLSegmentEditorWidget()
        self.editor.setMaximumNumberOfUndoStates(10)
        self.selectParameterNode()
        self.editor.setMRMLScene(slicer.mrmlScene)
        parent.layout().addWidget(self.editor)
        factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
        factory.connect("effectRegistered(QString)", self.editor.updateEffectList)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)

    def selectParameterNode(self) -> None:
        """Take the scene's node for this editor, a new one if there is none."""
        node = slicer.mrmlScene.GetSingletonNode(TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(TAG)
            node = slicer.mrmlScene.AddNode(node)
        if node is not self.parameterSetNode:
            self.parameterSetNode = node
            self.editor.setMRMLSegmentEditorNode(node)

    def enter(self) -> None:
        """The module is opened: a segmentation is there, the first one if none is chosen."""
        self.editor.installKeyboardShortcuts()
        self.selectParameterNode()
        self.editor.updateWidgetFromMRML()
        if not self.editor.segmentationNodeID():
            node = slicer.mrmlScene.GetFirstNode(None, "vtkMRMLSegmentationNode")
            self.editor.setSegmentationNode(node or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
            if not self.editor.sourceVolumeNodeID():
                composite = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
                self.editor.setSourceVolumeNodeID(composite.GetBackgroundVolumeID())

    def exit(self) -> None:
        """Another module is opened."""
        self.editor.setActiveEffect(None)
        self.editor.uninstallKeyboardShortcuts()
        self.editor.removeViewObservations()

    def onSceneStartClose(self, _caller: Any, _event: str) -> None:
        """The scene goes."""
        self.parameterSetNode = None
        self.editor.setSegmentationNode(None)
        self.editor.removeViewObservations()

    def onSceneEnd(self, _caller: Any, _event: str) -> None:
        """There is another scene."""
        if self.parent.isEntered:
            self.selectParameterNode()
            self.editor.updateWidgetFromMRML()


class SegmentEditorRepresentation(qMRMLWidget):
    """The widget that holds the panel."""

    def __init__(self) -> None:
        super().__init__()
        QVBoxLayout(self)
        self._entered = False
        self._self = SegmentEditorWidget(self)

    isEntered = property(lambda self: self._entered)

    def self(self) -> SegmentEditorWidget:
        """Return the Python object."""
        return self._self

    def enter(self) -> None:
        """Show the module."""
        self._entered = True
        self._self.enter()

    def exit(self) -> None:
        """Leave the module."""
        self._entered = False
        self._self.exit()


class SegmentEditorModule(LogicModule):
    """The module; its panel is made when it is first asked for, and stays."""

    _representation: SegmentEditorRepresentation | None = None

    def widgetRepresentation(self) -> SegmentEditorRepresentation:
        """Return the panel."""
        if self._representation is None:
            self._representation = SegmentEditorRepresentation()
        return self._representation
