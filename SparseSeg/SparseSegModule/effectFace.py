"""The options of the effect SparseSeg in a Segment Editor."""

from __future__ import annotations

from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SparseSegModule.editor import Editor
from SparseSegModule.face import Face
from SparseSegModule.loopBar import KEYS, LoopBar, loadBar
from SparseSegModule.session import Session

EDITOR_CLASS = "qMRMLSegmentEditorWidget"


class EffectFace(VTKObservationMixin, Face):
    """The bar of the loop among the effect's options.

    Once the effect was active on a segmentation, what is drawn here with other tools is followed, too.

    Parameters
    ----------
    scriptedEffect : qSlicerSegmentEditorScriptedEffect
    session : Session
    """

    def __init__(self, scriptedEffect: Any, session: Session) -> None:
        VTKObservationMixin.__init__(self)
        self.session = session
        self._effect = scriptedEffect
        self._editor: Editor | None = None
        self._parameterNode: Any = None
        self._guiTag: Any = None
        self._keys: list[Any] = []
        self._root = loadBar()
        self.ui = slicer.util.childWidgetVariables(self._root)
        self.whyLabel = qt.QLabel()
        self.whyLabel.wordWrap = True
        self.settingsButton = qt.QPushButton(_("Settings in the SparseSeg module"))
        self.settingsButton.toolTip = _("Preset, time, region and device; the table of annotated slices is there, too.")
        self.settingsButton.connect("clicked()", lambda: slicer.util.selectModule("SparseSeg"))
        self._widgets = [self.whyLabel, self._root, self.settingsButton]
        for widget in self._widgets:
            scriptedEffect.addOptionsWidget(widget)
        self._bar = LoopBar(self.ui, session, self._isHere)
        session.faces.append(self)

    def choose(self) -> None:
        """Work on what this Segment Editor edits; say why if that cannot be."""
        if self.session.parameterNode is None:
            self.session.follow(self.session.logic.getParameterNode())
        self._observe(self._effect.parameterSetNode())
        self._takeKeys()
        node = self._editor.node
        self.whyLabel.text = ""
        why = self.session.choose(node.GetSourceVolumeNode(), node.GetSegmentationNode())
        self.whyLabel.text = why
        self.whyLabel.visible = bool(why)
        if not why:
            self.session.edit(self._editor)
        self.session.showRegion(not why)
        self.onChosen()
        self._bar.onChosen()

    def leave(self) -> None:
        """Another tool is taken up, or the Segment Editor left."""
        self.session.showRegion(False)

    def close(self) -> None:
        """The Segment Editor goes, or the session."""
        self.removeObservers()
        self._connect(None)
        for face in (self, self._bar):
            if face in self.session.faces:
                self.session.faces.remove(face)
        if self.session.editor is self._editor:
            self.session.release()
        for part in (*self._keys, *self._widgets):
            part.setParent(None)
            part.deleteLater()
        self._keys, self._widgets = [], []

    def onChosen(self) -> None:
        """Connect what shows the user's choices."""
        self._connect(self.session.parameterNode)

    def onState(self) -> None:
        """What hindered may be over."""
        if self.whyLabel.text and self._effect.active() and not self.session.rounds.learns:
            self.choose()

    def onClosed(self) -> None:
        """The module is loaded again: the effect gets another face when it is chosen the next time."""
        self.removeObservers()
        self._connect(None)
        self._root.enabled = False

    def _isHere(self) -> bool:
        """Whether the session works on what this Segment Editor edits."""
        loop = self.session.loop
        if self._editor is None or loop is None:
            return False
        return self._editor.isOn(loop.volumeNode, loop.segmentationNode)

    def _observe(self, node: Any) -> None:
        """Know when the user takes up a tool in this Segment Editor."""
        if self._editor is None or self._editor.node is not node:
            self.removeObservers()
            self._editor = Editor(node, self._effect.saveStateForUndo)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onEditor)

    def _onEditor(self, caller: object = None, event: object = None) -> None:
        if self._editor.tool and self._isHere() and self.session.editor is not self._editor:
            self.session.edit(self._editor)

    def _connect(self, parameterNode: Any) -> None:
        if parameterNode is self._parameterNode:
            return
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._guiTag = parameterNode.connectGui(self.ui)

    def _takeKeys(self) -> None:
        """The panel's keys, with any tool; Qt lets them work while the Segment Editor is on the screen."""
        if self._keys:
            return
        widget = self._effect.optionsFrame()
        while widget is not None and not widget.inherits(EDITOR_CLASS):
            widget = widget.parentWidget()
        for name, key in KEYS.items() if widget is not None else ():
            shortcut = qt.QShortcut(qt.QKeySequence(key), widget)
            shortcut.connect("activated()", self._pressing(name))
            self._keys.append(shortcut)

    def _pressing(self, name: str) -> Any:
        """A function that presses a button."""

        def press() -> None:
            if self._isHere():
                self.session.edit(self._editor)
                getattr(self.ui, name).click()

        return press
