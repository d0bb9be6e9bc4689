"""Panel, part 2: the Segment Editor, and the table of annotated slices that follows the user's strokes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SparseSegLib.annotation import ObliquePlane, Plane
from SparseSegLib.errors import SparseSegError
from SparseSegModule.annotation import Drawing, findPlanes, takeDrawing
from SparseSegModule.planes import PlaneTable
from SparseSegModule.planeTable import PlaneTableView, describePlane
from SparseSegModule.segments import Block, classLabels, segmentStyles
from SparseSegModule.strokes import afterStroke, changedVoxels, segmentsOn
from SparseSegModule.views import jumpTo, viewPlanes
from SparseSegModule.volumes import volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode


PLANES_ATTRIBUTE = "SparseSeg.planes"
VOLUME_ROLE = "SparseSeg.planesVolume"
APPLIED_ROLE = "SparseSeg.applied"
"""What is kept of a segmentation while another one is chosen."""


class AnnotatePart(VTKObservationMixin):
    """Watches the segmentation: each stroke may make a slice an annotated one.

    ``onChanged`` (a callable or None) is called after every change of the annotation.
    """

    def __init__(self, panel) -> None:
        VTKObservationMixin.__init__(self)
        self.panel = panel
        self.onChanged = None
        self.suggestion: Plane | None = None
        self._segmentationNode: vtkMRMLSegmentationNode | None = None
        self._volumeId: str | None = None
        self._before: Block | None = None
        self._strokeTimer = qt.QTimer()
        self._strokeTimer.setSingleShot(True)
        self._strokeTimer.setInterval(0)
        self._strokeTimer.connect("timeout()", self._onStroke)
        ui = panel.ui
        self.table = PlaneTableView(ui.planeTable, self.jump, self._setFinished)
        ui.jumpButton.connect("clicked()", self._onJump)
        ui.removePlaneButton.connect("clicked()", self._onRemove)
        ui.findPlanesButton.connect("clicked()", self._onFind)
        ui.suggestButton.connect("clicked()", self._onSuggest)
        editorNode = slicer.mrmlScene.GetSingletonNode("SparseSeg", "vtkMRMLSegmentEditorNode")
        if editorNode is None:
            editorNode = slicer.vtkMRMLSegmentEditorNode()
            editorNode.SetSingletonTag("SparseSeg")
            editorNode = slicer.mrmlScene.AddNode(editorNode)
        ui.segmentEditorWidget.setMRMLSegmentEditorNode(editorNode)

    def refresh(self) -> None:
        """Follow the parameter node."""
        node = self.panel.parameterNode
        segmentationNode = node.segmentation if node is not None else None
        volumeNode = node.inputVolume if node is not None else None
        volumeId = volumeNode.GetID() if volumeNode is not None else None
        if segmentationNode is not self._segmentationNode or volumeId != self._volumeId:
            self._follow(segmentationNode, volumeNode)
        self._showTable()
        self._updateButtons()

    def cleanup(self) -> None:
        """Stop watching."""
        self._strokeTimer.stop()
        self.removeObservers()

    def planes(self) -> PlaneTable:
        """The annotated slices."""
        node = self.panel.parameterNode
        return PlaneTable.fromText(node.planes) if node is not None else PlaneTable()

    def setPlanes(self, table: PlaneTable) -> None:
        """Keep another table in the scene, show it, and send it to a job that runs."""
        node = self.panel.parameterNode
        if node is not None and table != self.planes():
            self._storePlanes(table)
            self._showChange()

    def drawing(self) -> Drawing:
        """What is drawn now; AnnotationError if nothing is."""
        node = self.panel.parameterNode
        return takeDrawing(node.inputVolume, node.segmentation, self.planes(), node.applied)

    def suggestionText(self) -> str:
        """Where the next slice worth annotating is."""
        volumeNode = self.panel.parameterNode.inputVolume
        where = " ".join(describePlane(self.suggestion, volumeGeometry(volumeNode), volumeNode))
        return _("Next slice: {where}").format(where=where)

    def offerToFind(self) -> None:
        """Ask about the slices of a segmentation drawn earlier, of which no table is known yet."""
        node = self.panel.parameterNode
        if node.planes or node.inputVolume is None or node.segmentation is None:
            return  # a table that the user emptied stays empty
        with slicer.util.tryWithErrorDisplay(_("The annotated slices could not be found."), waitCursor=True):
            found = findPlanes(node.inputVolume, node.segmentation)
            if found and _confirmed(found):
                self.setPlanes(self.planes().withFound(found))

    def setApplied(self, segmentationNode: vtkMRMLSegmentationNode, appliedNode) -> None:
        """Remember which dense labels were applied to a segmentation."""
        segmentationNode.SetNodeReferenceID(APPLIED_ROLE, appliedNode.GetID())
        if self.panel.parameterNode.segmentation is segmentationNode:
            self.panel.parameterNode.applied = appliedNode

    def ignoreChange(self) -> None:
        """Ignore the last change of the segmentation: a result was applied, nobody drew."""
        self._strokeTimer.stop()
        self._before = _drawnNow(self.panel.parameterNode)

    def jump(self, plane: Plane | ObliquePlane) -> None:
        """Show a slice."""
        jumpTo(self.panel.parameterNode.inputVolume, plane)

    def suggest(self, plane: Plane | None) -> None:
        """Offer the next slice worth annotating."""
        self.suggestion = plane
        self._updateButtons()

    def _follow(self, segmentationNode: vtkMRMLSegmentationNode | None, volumeNode) -> None:
        self.removeObservers()
        known = self._segmentationNode
        self._segmentationNode = segmentationNode
        self._volumeId = volumeNode.GetID() if volumeNode is not None else None
        editor = self.panel.ui.segmentEditorWidget
        editor.setSegmentationNode(segmentationNode)
        editor.setSourceVolumeNode(volumeNode)
        self.suggestion = None
        self._before = _drawnNow(self.panel.parameterNode)
        if segmentationNode is None:
            if self.panel.parameterNode is not None:
                self.panel.parameterNode.planes = ""
                self.panel.parameterNode.applied = None
            return
        if known is not None:  # another one was chosen: go on with its table
            self._recall(segmentationNode, volumeNode)
        segmentation = segmentationNode.GetSegmentation()
        for event in (
            segmentation.SourceRepresentationModified,
            segmentation.SegmentModified,  # undo and redo emit no other event
            segmentation.SegmentAdded,
            segmentation.SegmentRemoved,
        ):
            self.addObserver(segmentation, event, self._onSegmentationChanged)

    def _recall(self, segmentationNode: vtkMRMLSegmentationNode, volumeNode) -> None:
        """Take the slices and the applied result that a segmentation had when it was left."""
        node = self.panel.parameterNode
        same = volumeNode is not None and segmentationNode.GetNodeReference(VOLUME_ROLE) is volumeNode
        node.planes = (segmentationNode.GetAttribute(PLANES_ATTRIBUTE) or "") if same else ""
        node.applied = segmentationNode.GetNodeReference(APPLIED_ROLE) if same else None

    def _onSegmentationChanged(self, caller=None, event=None) -> None:
        self._strokeTimer.start()

    def _onStroke(self) -> None:
        after = _drawnNow(self.panel.parameterNode)
        before, self._before = self._before, after
        if after is None or before is None:
            return
        volumeNode = self.panel.parameterNode.inputVolume
        changed = changedVoxels(before, after)
        if not len(changed):
            self._showTable()  # a segment may have another name
            return
        table = afterStroke(self.planes(), changed, after, volumeGeometry(volumeNode), viewPlanes(volumeNode))
        if table != self.planes():
            self._storePlanes(table)
        self._showChange()

    def _storePlanes(self, table: PlaneTable) -> None:
        node = self.panel.parameterNode
        node.planes = table.toText()
        if node.segmentation is not None and node.inputVolume is not None:
            node.segmentation.SetAttribute(PLANES_ATTRIBUTE, node.planes)
            node.segmentation.SetNodeReferenceID(VOLUME_ROLE, node.inputVolume.GetID())

    def _showChange(self) -> None:
        """Show the annotation after a change, and tell a job that runs."""
        self._showTable()
        self._updateButtons()
        if self.onChanged is not None:
            self.onChanged()

    def _showTable(self) -> None:
        node = self.panel.parameterNode
        if node is None or node.inputVolume is None or self._before is None:
            self.table.clear()
            return
        names = [style.name for style in segmentStyles(node.segmentation)]
        content = []
        for plane in self.planes().planes:
            values = segmentsOn(self._before, plane.axis, plane.index)
            content.append((plane, ", ".join(names[value - 1] for value in values if value <= len(names))))
        self.table.show(content, self.planes().oblique, node.inputVolume)

    def _updateButtons(self) -> None:
        ui, node = self.panel.ui, self.panel.parameterNode
        ready = node is not None and node.inputVolume is not None and node.segmentation is not None
        ui.findPlanesButton.enabled = ready
        suggests = ready and self.suggestion is not None
        ui.suggestButton.enabled = suggests
        ui.suggestButton.text = self.suggestionText() if suggests else _("Suggest next slice")
        ui.jumpButton.enabled = ui.removePlaneButton.enabled = ready and self.planes() != PlaneTable()

    def _setFinished(self, plane: Plane, finished: bool) -> None:
        table = self.planes()
        entry = table.find(plane.axis, plane.index)
        if entry is not None and entry.finished != finished:
            self.setPlanes(table.withPlane(type(entry)(entry.axis, entry.index, finished, declared=True)))

    def _onJump(self) -> None:
        plane = self.table.chosen()
        if plane is not None:
            self.jump(plane)

    def _onRemove(self) -> None:
        plane = self.table.chosen()
        if isinstance(plane, ObliquePlane):
            self.setPlanes(self.planes().withoutOblique(plane))
        elif plane is not None:
            self.setPlanes(self.planes().without(plane.axis, plane.index))

    def _onFind(self) -> None:
        node = self.panel.parameterNode
        with slicer.util.tryWithErrorDisplay(_("The annotated slices could not be found."), waitCursor=True):
            found = findPlanes(node.inputVolume, node.segmentation)
            if not found:
                slicer.util.infoDisplay(_("No slice was drawn on by itself: nothing to add."))
            elif _confirmed(found):
                self.setPlanes(self.planes().withFound(found))

    def _onSuggest(self) -> None:
        if self.suggestion is not None:
            try:
                self.jump(self.suggestion)
            except SparseSegError as error:
                slicer.util.errorDisplay(str(error))


def _drawnNow(parameterNode) -> Block | None:
    """The segments as they are; None where none are chosen."""
    if parameterNode is None or parameterNode.inputVolume is None or parameterNode.segmentation is None:
        return None
    if parameterNode.inputVolume.GetImageData() is None:
        return None
    return classLabels(parameterNode.segmentation, parameterNode.inputVolume)


def _confirmed(found: list[Plane]) -> bool:
    """Whether the user confirms that slices which were found are finished."""
    question = _(
        "{count} slices seem to be annotated. Are they finished: is all that is outside of the segments "
        "on them background?"
    ).format(count=len(found))
    return bool(slicer.util.confirmYesNoDisplay(question))
