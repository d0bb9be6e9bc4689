"""Follows one drawing while the user draws on it: mouse and segmentation are watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SparseSegLib.annotation import Plane
from SparseSegModule.editor import Editor
from SparseSegModule.loop import AnnotationLoop
from SparseSegModule.mousePress import MousePress
from SparseSegModule.views import shownPlane, viewPlanes

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


class StrokeWatch(VTKObservationMixin):
    """Makes of strokes what they mean: they correct the prediction where it stands, and annotate slices.

    Parameters
    ----------
    onChanged : called after every change of the annotation
    onCorrected : called after a stroke, before that, with the slice that is being edited
    onNamed : called where the segmentation has changed, but not the annotation: a segment may have another name

    Attributes
    ----------
    loop : AnnotationLoop or None
        The state of the drawing that is followed.
    editor : Editor or None
        What the user edits with.
    """

    def __init__(
        self, onChanged: Callable[[], None], onCorrected: Callable[[Plane], None], onNamed: Callable[[], None]
    ) -> None:
        VTKObservationMixin.__init__(self)
        self.loop: AnnotationLoop | None = None
        self.editor: Editor | None = None
        self._onChanged, self._onCorrected, self._onNamed = onChanged, onCorrected, onNamed
        self._learnFrom: dict[str, bool] = {}  # by tool: whether what fills a volume is annotation
        self._drags = False
        self._mouse = MousePress(self._onPress, self._onRelease)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._onStroke)

    def follow(self, chosen: tuple[vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode] | None) -> None:
        """Follow the drawing on a volume, or none."""
        self.removeObservers()
        self.loop = None
        if chosen is None:
            return
        volumeNode, segmentationNode = chosen
        self.loop = AnnotationLoop(volumeNode, segmentationNode)
        self._tellEditor()
        segmentation = segmentationNode.GetSegmentation()
        for event in (
            segmentation.SourceRepresentationModified,
            segmentation.SegmentModified,  # undo and redo emit no other event
            segmentation.SegmentAdded,
            segmentation.SegmentRemoved,
        ):
            self.addObserver(segmentation, event, self._onSegmentationChanged)

    def edit(self, editor: Editor) -> None:
        """The user edits with this Segment Editor from now on: watch the mouse."""
        self.editor = editor
        self._tellEditor()
        self._mouse.observe()

    def release(self) -> None:
        """Watch the mouse no longer."""
        self._mouse.stop()

    def stop(self) -> None:
        """Watch nothing."""
        self._timer.stop()
        self._mouse.stop()
        self.follow(None)

    def ignoreChange(self) -> None:
        """Ignore the last change of the segmentation: a result was applied, nobody drew."""
        self._timer.stop()

    def takeOver(self) -> None:
        """Make the prediction on the slice under the pointer its drawing."""
        view = self._mouse.view or slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        plane = shownPlane(view, self.loop.volumeNode)
        if plane is not None and self.loop.table.find(plane.axis, plane.index) is None:
            self._takeOver(plane, self.loop.takeOver)

    def _tellEditor(self) -> None:
        if self.loop is not None and self.editor is not None:
            self.loop.saveUndo, self.loop.editorNode = self.editor.saveUndo, self.editor.node

    def _draws(self) -> bool:
        """Whether a tool is active that draws on slices of what is followed."""
        loop, editor = self.loop, self.editor
        if loop is None or editor is None:
            return False
        return editor.draws and editor.isOn(loop.volumeNode, loop.segmentationNode)

    def _onPress(self, view) -> None:
        """A stroke begins."""
        if not self._draws():
            return
        self._drags = False
        if self._timer.active:  # what changed until now is no part of this stroke
            self._timer.stop()
            self._onStroke()
        self._drags = self.editor.tool != "Draw"  # which goes on from click to click
        plane = shownPlane(view, self.loop.volumeNode) if self.editor.staysOnSlice else None
        self._takeOver(plane, self.loop.press)

    def _onRelease(self, view) -> None:
        """A stroke ends, once the tool has applied it."""
        if self._drags:
            self._drags = False
            self._timer.start()

    def _takeOver(self, plane: Plane | None, take: Callable[[Plane | None], bool]) -> None:
        with slicer.util.tryWithErrorDisplay(_("The prediction could not be taken over.")):
            if take(plane):
                self._onChanged()

    def _onSegmentationChanged(self, caller=None, event=None) -> None:
        self._timer.start()

    def _onStroke(self) -> None:
        if self.loop is None or self._drags:
            return
        if not self._draws():
            self.loop.press(None)  # the mouse was pressed for another tool
        with slicer.util.tryWithErrorDisplay(_("The stroke could not be followed.")):
            if not self.loop.strokeEnded(viewPlanes(self.loop.volumeNode), self._isAnnotation):
                self._onNamed()
                return
            if self.loop.table.edited is not None:
                self._onCorrected(self.loop.table.edited)
            self._onChanged()

    def _isAnnotation(self, voxels: int) -> bool:
        """Ask, once for each tool, whether to learn from what a tool did to many slices at once."""
        tool = self.editor.tool if self.editor is not None else ""
        if tool not in self._learnFrom:
            question = _(
                "{voxels} voxels were changed on many slices at once. Did you check all of them, so that SparseSeg may "
                "learn from them? With No they stay in the segmentation, and only what you draw is learned from."
            ).format(voxels=voxels)
            self._learnFrom[tool] = bool(slicer.util.confirmYesNoDisplay(question))
        return self._learnFrom[tool]
