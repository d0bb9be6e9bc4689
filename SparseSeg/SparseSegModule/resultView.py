"""The live preview and the result over the user's drawing: fade, Show 3D, uncertainty, Apply, Discard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.image import Geometry
from SparseSegModule.annotatePart import AnnotatePart
from SparseSegModule.annotation import readDrawing, rememberDrawn
from SparseSegModule.densifyWork import DenseResult
from SparseSegModule.results import INPUT_ATTRIBUTE, addSegmentation, showPreview
from SparseSegModule.segments import SegmentStyle, applyLabels, classLabels, classSegmentIds, segmentStyles
from SparseSegModule.views import blend
from SparseSegModule.volumes import addLabelmapNode, ijkToRas, imageFromArray, volumeArray, volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


class ResultView:
    """Preview and result of a densification in the views, and their buttons."""

    def __init__(self, panel, annotate: AnnotatePart) -> None:
        self.panel = panel
        self.annotate = annotate
        self.previewNode: vtkMRMLSegmentationNode | None = None
        self.result: DenseResult | None = None
        self._volumeNode: vtkMRMLScalarVolumeNode | None = None
        self._drawnNode: vtkMRMLSegmentationNode | None = None
        self._segmentIds: list[str] = []
        self._styles: list[SegmentStyle] = []
        self._opacity = 1.0
        self._uncertaintyShown = False
        ui = panel.ui
        ui.applyButton.connect("clicked()", self.apply)
        ui.discardButton.connect("clicked()", self.discard)
        ui.show3DButton.connect("toggled(bool)", self._onShow3D)

    def begin(self, volumeNode: vtkMRMLScalarVolumeNode, drawnNode: vtkMRMLSegmentationNode) -> None:
        """A job has started on these nodes."""
        self._volumeNode, self._drawnNode = volumeNode, drawnNode
        self._segmentIds, self._styles = classSegmentIds(drawnNode), segmentStyles(drawnNode)
        if drawnNode.GetDisplayNode() is not None:
            self._opacity = drawnNode.GetDisplayNode().GetOpacity()

    def showPreview(self, labels: np.ndarray, geometry: Geometry) -> None:
        """Show an intermediate result in a segmentation of its own."""
        if not _inScene(self._volumeNode) or not _inScene(self._drawnNode):
            return
        if not _inScene(self.previewNode):
            self.previewNode = addSegmentation(self._volumeNode, f"{self._drawnNode.GetName()} preview")
            self.previewNode.SetAttribute(INPUT_ATTRIBUTE, self._volumeNode.GetName())
        showPreview(self.previewNode, labels, geometry, self._styles)
        self.refresh()
        self._onShow3D(self.panel.ui.show3DButton.checked)

    def end(self, result: DenseResult) -> None:
        """The job has ended with a result."""
        self.result = result
        if result.segmentationNode is not None:
            self.removePreview()
        elif result.labelmapNode is not None:
            labels = volumeArray(result.labelmapNode)
            self.showPreview(np.array(labels), volumeGeometry(result.labelmapNode))
        self.refresh()
        self._onShow3D(self.panel.ui.show3DButton.checked)

    def shownNode(self) -> vtkMRMLSegmentationNode | None:
        """The segmentation that shows the result, or the preview of it."""
        if self.result is not None and _inScene(self.result.segmentationNode):
            return self.result.segmentationNode
        return self.previewNode if _inScene(self.previewNode) else None

    def refresh(self) -> None:
        """Follow the opacity slider and the uncertainty button."""
        node = self.panel.parameterNode
        if node is None:
            return
        if self.shownNode() is not None:
            blend(self._drawnNode if _inScene(self._drawnNode) else None, self.shownNode(), node.resultOpacity)
        self._showUncertainty(node.showUncertainty)

    def _showUncertainty(self, wanted: bool) -> None:
        """Put the uncertainty over the image or take it away; another overlay of the user's is left alone."""
        node = self.result.uncertaintyNode if self.result is not None else None
        if not _inScene(node) or wanted == self._uncertaintyShown:
            return
        self._uncertaintyShown = wanted
        if wanted:
            slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=0.6)
        else:
            slicer.util.setSliceViewerLayers(foreground=None)

    def sameSegments(self) -> bool:
        """Whether the drawing still has the segments that it had when the job started."""
        return _inScene(self._drawnNode) and classSegmentIds(self._drawnNode) == self._segmentIds

    def updateButtons(self, runs: bool) -> None:
        """Enable what can be done now."""
        ui = self.panel.ui
        shown = self.shownNode() is not None
        ui.previewFrame.enabled = shown
        done = not runs and self.result is not None
        ui.discardButton.enabled = done
        ui.applyButton.enabled = done and self._canApply()
        ui.uncertaintyButton.enabled = self.result is not None

    def _canApply(self) -> bool:
        """Apply can only be undone where the Segment Editor is on the segmentation that it changes."""
        node = self.panel.parameterNode
        if node is None or not _inScene(self._drawnNode) or not _inScene(self._volumeNode):
            return False
        chosen = node.segmentation is self._drawnNode and node.inputVolume is self._volumeNode
        return chosen and (_inScene(self.result.labelmapNode) or _inScene(self.result.segmentationNode))

    def apply(self) -> None:
        """Write the result into the user's segmentation; the Segment Editor can undo it."""
        if self.result is None or not self._canApply():
            return
        with slicer.util.tryWithErrorDisplay(_("The result could not be applied."), waitCursor=True):
            drawn = self._drawn()
            own = self._inResultsClasses(drawn.array)
            labels = np.where(own != UNLABELED, own, self._labels())
            self.panel.ui.segmentEditorWidget.saveStateForUndo()
            applyLabels(self._drawnNode, self._volumeNode, labels, ijkToRas(self._volumeNode), self._segmentIds)
            self._rememberApplied(drawn)
            self.annotate.ignoreChange()
            name = self._drawnNode.GetName()
            self._finish(_("The result was applied to {segmentation}.").format(segmentation=name))

    def discard(self) -> None:
        """Remove the result; the user's segmentation stays as it is."""
        result = self.result
        self._finish(_("The result was removed."))
        if result is not None:
            for node in (result.segmentationNode, result.labelmapNode, result.uncertaintyNode):
                if _inScene(node):
                    removeWithColors(node)

    def discardPrevious(self) -> None:
        """A new job starts: the last result stays in the scene, but is no longer on show here."""
        node = self.shownNode()
        self._close()
        if node is not None and _inScene(node) and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)

    def removePreview(self) -> None:
        """Take the preview out of the scene."""
        if _inScene(self.previewNode):
            slicer.mrmlScene.RemoveNode(self.previewNode)
        self.previewNode = None
        if _inScene(self._drawnNode) and self._drawnNode.GetDisplayNode() is not None:
            self._drawnNode.GetDisplayNode().SetOpacity(self._opacity)

    def forget(self) -> None:
        """The scene closes."""
        self.previewNode = self.result = self._volumeNode = self._drawnNode = None
        self.panel.ui.show3DButton.checked = False

    def _finish(self, text: str) -> None:
        """The user is done with the result."""
        self._close()
        self.panel.ui.show3DButton.checked = False
        self.panel.ui.progressLabel.text = text

    def _close(self) -> None:
        self._showUncertainty(False)
        shown = self.result.segmentationNode if self.result is not None else None
        self.removePreview()
        if _inScene(shown):
            shown.GetDisplayNode().SetVisibility(False)
        self.result = None
        self.updateButtons(runs=False)

    def _labels(self) -> np.ndarray:
        """The dense labels on the volume's grid ``(Z, Y, X)``."""
        if _inScene(self.result.labelmapNode):
            return np.array(volumeArray(self.result.labelmapNode))
        return classLabels(self.result.segmentationNode, self._volumeNode).whole(volumeGeometry(self._volumeNode).shape)

    def _drawn(self) -> SparseLabels:
        """All that the user drew, before the training and since: it stands."""
        applied = self.panel.parameterNode.applied
        return readDrawing(self._volumeNode, self._drawnNode, self.annotate.planes(), applied).drawnLabels()

    def _inResultsClasses(self, labels: np.ndarray) -> np.ndarray:
        """Labels of the segments as they are now in the classes of the training; new segments are background."""
        classes = np.zeros(256, np.uint8)
        classes[UNLABELED] = UNLABELED
        for value, segmentId in enumerate(classSegmentIds(self._drawnNode), start=1):
            if segmentId in self._segmentIds:
                classes[value] = self._segmentIds.index(segmentId) + 1
        return classes[labels]

    def _rememberApplied(self, drawn: SparseLabels) -> None:
        """What was applied is no annotation: keep a copy, hidden from the user, to distinguish strokes from it."""
        last, geometry = self.panel.parameterNode.applied, volumeGeometry(self._volumeNode)
        there = classLabels(self._drawnNode, self._volumeNode).whole(geometry.shape)
        image, styles = imageFromArray(rememberDrawn(there, drawn)), segmentStyles(self._drawnNode)
        names, colors = tuple(style.name for style in styles), [style.color for style in styles]
        node = addLabelmapNode(image, geometry, "SparseSeg applied", names, colors)
        node.SetHideFromEditors(True)
        self.annotate.setApplied(self._drawnNode, node)
        if last is not None:
            removeWithColors(last)

    def _onShow3D(self, shown: bool) -> None:
        node = self.shownNode()
        if node is None:
            return
        if shown:
            node.CreateClosedSurfaceRepresentation()
        else:
            node.RemoveClosedSurfaceRepresentation()
        node.GetDisplayNode().SetVisibility3D(shown)


def removeWithColors(node) -> None:
    """Remove a node, and the color table that was made for it."""
    display = node.GetDisplayNode()
    colors = display.GetColorNode() if node.IsA("vtkMRMLLabelMapVolumeNode") and display is not None else None
    slicer.mrmlScene.RemoveNode(node)
    if colors is not None and colors.GetName() == f"{node.GetName()} colors":
        slicer.mrmlScene.RemoveNode(colors)


def _inScene(node) -> bool:
    return node is not None and node.GetScene() is not None
