"""Panel: the Segment Editor, and the table of annotated slices that follows the user's strokes."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SparseSegLib.annotation import ObliquePlane, Plane
from SparseSegLib.errors import SparseSegError
from SparseSegModule.drawingTools import cutOneSlice, isDrawingTool, staysOnSlice
from SparseSegModule.loop import AnnotationLoop
from SparseSegModule.mousePress import MousePress
from SparseSegModule.planes import PlaneTable
from SparseSegModule.planeTable import describePlane
from SparseSegModule.prediction import Prediction
from SparseSegModule.slicesList import SlicesList
from SparseSegModule.translation import errorText
from SparseSegModule.views import jumpTo, shownPlane, viewPlanes
from SparseSegModule.volumes import volumeGeometry

KEYS = (("takeOverButton", "O"), ("confirmButton", "C"), ("suggestButton", "N"))


class AnnotatePart(VTKObservationMixin):
    """Watches mouse and segmentation: strokes correct the prediction where it stands, and annotate slices.

    Attributes
    ----------
    loop : AnnotationLoop or None
        The state of the drawing that is chosen.
    onChanged : called after every change of the annotation
    onCorrected : called after a stroke with the slice that is being edited
    """

    def __init__(self, panel) -> None:
        VTKObservationMixin.__init__(self)
        self.panel = panel
        self.loop: AnnotationLoop | None = None
        self.onChanged = self.onCorrected = lambda *arguments: None
        self.suggestion: Plane | None = None
        self._learnFrom: dict[str, bool] = {}  # by tool: whether what fills a volume is annotation
        self._drags = False
        self._mouse = MousePress(self._onPress, self._onRelease)
        self._strokeTimer = qt.QTimer()
        self._strokeTimer.setSingleShot(True)
        self._strokeTimer.setInterval(0)
        self._strokeTimer.connect("timeout()", self._onStroke)
        ui = panel.ui
        self.slices = SlicesList(panel.ui, self)
        ui.suggestButton.connect("clicked()", self._onSuggest)
        ui.takeOverButton.connect("clicked()", self.takeOver)
        ui.confirmButton.connect("clicked()", self.confirm)
        ui.scribbleButton.connect("toggled(bool)", self._onScribble)
        for name, key in KEYS:
            getattr(ui, name).setShortcut(qt.QKeySequence(key))
        editorNode = slicer.mrmlScene.GetSingletonNode("SparseSeg", "vtkMRMLSegmentEditorNode")
        if editorNode is None:
            editorNode = slicer.vtkMRMLSegmentEditorNode()
            editorNode.SetSingletonTag("SparseSeg")
            editorNode = slicer.mrmlScene.AddNode(editorNode)
        self._editorNode = editorNode  # the Segment Editor's settings
        ui.segmentEditorWidget.setMRMLSegmentEditorNode(editorNode)

    def refresh(self) -> None:
        """Follow the parameter node."""
        node = self.panel.parameterNode
        segmentationNode = node.segmentation if node is not None else None
        volumeNode = node.inputVolume if node is not None else None
        if volumeNode is not None and volumeNode.GetImageData() is None:
            volumeNode = None
        chosen = (volumeNode, segmentationNode) if volumeNode is not None and segmentationNode is not None else None
        editor = self.panel.ui.segmentEditorWidget
        if (editor.segmentationNode(), editor.sourceVolumeNode()) != (segmentationNode, volumeNode):
            editor.setSegmentationNode(segmentationNode)
            editor.setSourceVolumeNode(volumeNode)
        if chosen != (None if self.loop is None else (self.loop.volumeNode, self.loop.segmentationNode)):
            self._follow(volumeNode, segmentationNode)
        self._show()

    def cleanup(self) -> None:
        """Stop watching."""
        self._strokeTimer.stop()
        self._mouse.stop()
        self.removeObservers()

    def enter(self) -> None:
        """The panel is shown: observe mouse and keys."""
        self.panel.ui.segmentEditorWidget.setupViewObservations()
        self.panel.ui.segmentEditorWidget.installKeyboardShortcuts()
        self._mouse.observe()

    def exit(self) -> None:
        """Another module is shown: no drawing tools there."""
        self._mouse.stop()
        self.panel.ui.segmentEditorWidget.setActiveEffect(None)
        self.panel.ui.segmentEditorWidget.uninstallKeyboardShortcuts()
        self.panel.ui.segmentEditorWidget.removeViewObservations()

    def planes(self) -> PlaneTable:
        """The annotated slices."""
        return self.loop.table if self.loop is not None else PlaneTable()

    def confirm(self) -> None:
        """The slice that is being edited is finished."""
        if self.loop is not None and self.loop.confirm():
            self.changed()

    def takeOver(self) -> None:
        """Make the prediction on the slice under the pointer its drawing."""
        view = self._mouse.view or slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        plane = shownPlane(view, self.loop.volumeNode)
        if plane is not None and self.planes().find(plane.axis, plane.index) is None:
            self._takeOver(plane, self.loop.takeOver)

    def ignoreChange(self) -> None:
        """Ignore the last change of the segmentation: a result was applied, nobody drew."""
        self._strokeTimer.stop()

    def jump(self, plane: Plane | ObliquePlane) -> None:
        """Show a slice."""
        jumpTo(self.loop.volumeNode, plane)

    def predict(self, prediction: Prediction | None) -> None:
        """Let corrections start from a prediction, or from nothing."""
        if self.loop is not None:
            self.loop.prediction = prediction
        self._updateButtons()

    def suggest(self, plane: Plane | None) -> None:
        """Offer the next slice worth annotating."""
        self.suggestion = plane
        self._updateButtons()

    def _follow(self, volumeNode, segmentationNode) -> None:
        self.removeObservers()
        self.suggestion, self.loop = None, None
        if volumeNode is None or segmentationNode is None:
            return
        saveUndo = self.panel.ui.segmentEditorWidget.saveStateForUndo
        self.loop = AnnotationLoop(volumeNode, segmentationNode, saveUndo, self._editorNode)
        self.loop.scribble = self.panel.ui.scribbleButton.checked
        cutOneSlice(self._editorNode)
        segmentation = segmentationNode.GetSegmentation()
        for event in (
            segmentation.SourceRepresentationModified,
            segmentation.SegmentModified,  # undo and redo emit no other event
            segmentation.SegmentAdded,
            segmentation.SegmentRemoved,
        ):
            self.addObserver(segmentation, event, self._onSegmentationChanged)

    def _onPress(self, view) -> None:
        """A stroke begins."""
        effect = self.panel.ui.segmentEditorWidget.activeEffect()
        if self.loop is None or not isDrawingTool(effect):
            return
        self._drags = False
        if self._strokeTimer.active:  # what changed until now is no part of this stroke
            self._strokeTimer.stop()
            self._onStroke()
        self._drags = effect.name != "Draw"  # which goes on from click to click
        plane = shownPlane(view, self.loop.volumeNode) if staysOnSlice(effect) else None
        self._takeOver(plane, self.loop.press)

    def _onRelease(self, view) -> None:
        """A stroke ends, once the tool has applied it."""
        if self._drags:
            self._drags = False
            self._strokeTimer.start()

    def _takeOver(self, plane: Plane | None, take) -> None:
        with slicer.util.tryWithErrorDisplay(_("The prediction could not be taken over.")):
            if take(plane):
                self.changed()

    def _onSegmentationChanged(self, caller=None, event=None) -> None:
        self._strokeTimer.start()

    def _onStroke(self) -> None:
        if self.loop is None or self._drags:
            return
        if not isDrawingTool(self.panel.ui.segmentEditorWidget.activeEffect()):
            self.loop.press(None)  # the mouse was pressed for another tool
        with slicer.util.tryWithErrorDisplay(_("The stroke could not be followed.")):
            if self.loop.strokeEnded(viewPlanes(self.loop.volumeNode), self._isAnnotation):
                if self.planes().edited is not None:
                    self.onCorrected(self.planes().edited)
                self.changed()
            else:
                self._show()  # a segment may have another name

    def _isAnnotation(self, voxels: int) -> bool:
        """Ask, once for each tool, whether to learn from what a tool did to many slices at once."""
        effect = self.panel.ui.segmentEditorWidget.activeEffect()
        tool = effect.name if effect is not None else ""
        if tool not in self._learnFrom:
            question = _(
                "{voxels} voxels were changed on many slices at once. Did you check all of them, so that SparseSeg may "
                "learn from them? With No they stay in the segmentation, and only what you draw is learned from."
            ).format(voxels=voxels)
            self._learnFrom[tool] = bool(slicer.util.confirmYesNoDisplay(question))
        return self._learnFrom[tool]

    def changed(self) -> None:
        """The annotation has changed: show it, and tell a job that runs."""
        self._show()
        self.onChanged()

    def _show(self) -> None:
        self.slices.show()
        self._updateButtons()

    def _updateButtons(self) -> None:
        ui, ready = self.panel.ui, self.loop is not None
        suggests = ready and self.suggestion is not None
        ui.suggestButton.enabled = suggests
        ui.suggestButton.toolTip = self._suggestionText() if suggests else _("Press Densify first.")
        ui.confirmButton.enabled = ready and self.planes().edited is not None
        ui.takeOverButton.enabled = ready and self.loop.prediction is not None

    def _suggestionText(self) -> str:
        """Where the next slice worth annotating is."""
        volumeNode = self.loop.volumeNode
        where = " ".join(describePlane(self.suggestion, volumeGeometry(volumeNode), volumeNode))
        return _("Show the slice whose annotation promises most: {where}").format(where=where)

    def _onScribble(self, scribble: bool) -> None:
        if self.loop is not None:
            self.loop.scribble = scribble

    def _onSuggest(self) -> None:
        if self.suggestion is not None:
            try:
                self.jump(self.suggestion)
            except SparseSegError as error:
                slicer.util.errorDisplay(errorText(error))
