"""Panel: the Segment Editor in it, and the table of annotated slices."""

from __future__ import annotations

import slicer

from SparseSegModule.editor import Editor
from SparseSegModule.face import Face
from SparseSegModule.slicesList import SlicesList

EFFECT = "SparseSeg"
"""The name of the effect; the panel's editor leaves it out, as the panel has all of it."""


class AnnotatePart(Face):
    """Keeps the panel's Segment Editor and the table on what is chosen."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self.slices = SlicesList(panel.ui, panel.session)
        editorNode = slicer.mrmlScene.GetSingletonNode("SparseSeg", "vtkMRMLSegmentEditorNode")
        if editorNode is None:
            editorNode = slicer.vtkMRMLSegmentEditorNode()
            editorNode.SetSingletonTag("SparseSeg")
            editorNode = slicer.mrmlScene.AddNode(editorNode)
        widget = panel.ui.segmentEditorWidget
        widget.setMRMLSegmentEditorNode(editorNode)
        _hideEffect(widget)
        self._editor = Editor(editorNode, widget.saveStateForUndo)
        self._editor.cutOneSlice()
        panel.session.faces.append(self)

    def refresh(self) -> None:
        """Follow the parameter node."""
        node = self.panel.parameterNode
        segmentationNode = node.segmentation if node is not None else None
        volumeNode = node.inputVolume if node is not None else None
        if volumeNode is not None and volumeNode.GetImageData() is None:
            volumeNode = None
        editor = self.panel.ui.segmentEditorWidget
        if (editor.segmentationNode(), editor.sourceVolumeNode()) != (segmentationNode, volumeNode):
            editor.setSegmentationNode(segmentationNode)
            editor.setSourceVolumeNode(volumeNode)
            self._editor.cutOneSlice()
        self.slices.show()

    def cleanup(self) -> None:
        """The panel goes."""

    def enter(self) -> None:
        """The panel is shown: observe mouse and keys."""
        self.panel.ui.segmentEditorWidget.setupViewObservations()
        self.panel.ui.segmentEditorWidget.installKeyboardShortcuts()
        self.panel.session.edit(self._editor)

    def exit(self) -> None:
        """Another module is shown: no drawing tools there."""
        if self.panel.session.editor is self._editor:
            self.panel.session.release()
        self.panel.ui.segmentEditorWidget.setActiveEffect(None)
        self.panel.ui.segmentEditorWidget.uninstallKeyboardShortcuts()
        self.panel.ui.segmentEditorWidget.removeViewObservations()

    def onAnnotated(self) -> None:
        """Show the slices."""
        self.slices.show()

    def onNamed(self) -> None:
        """Show the names."""
        self.slices.show()


def _hideEffect(widget) -> None:
    """Leave the effect SparseSeg out of a Segment Editor, and no other."""
    names = list(widget.effectNameOrder())
    names += [name for name in widget.availableEffectNames() if name not in names]
    widget.setEffectNameOrder([name for name in names if name != EFFECT])
    widget.unorderedEffectsVisible = False
