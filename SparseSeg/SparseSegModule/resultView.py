"""The live preview and the result in the views, over the user's drawing: fade, 3D, uncertainty, Apply, Discard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegLib.image import Geometry
from SparseSegModule.applying import applyResult
from SparseSegModule.densifyWork import DenseResult
from SparseSegModule.finishing import WAYS, finished
from SparseSegModule.prediction import Prediction, classesFrom
from SparseSegModule.remembered import forgetResult, rememberedResult, rememberResult
from SparseSegModule.results import (
    INPUT_ATTRIBUTE,
    addSegmentation,
    denseLabels,
    inScene,
    keepCopy,
    liesOn,
    showPreview,
)
from SparseSegModule.segmentChanges import setSlice
from SparseSegModule.segments import SegmentStyle, classSegmentIds, editableStyles
from SparseSegModule.sequences import isOfAnotherFrame
from SparseSegModule.views import blend
from SparseSegModule.volumes import volumeArray, volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

    from SparseSegModule.loop import AnnotationLoop
    from SparseSegModule.session import Session


class ResultView:
    """Preview and result of a densification in the views.

    Attributes
    ----------
    previewNode : the segmentation that shows a preview, or None
    result : DenseResult or None
    """

    def __init__(self, session: Session) -> None:
        self.previewNode: vtkMRMLSegmentationNode | None = None
        self.result: DenseResult | None = None
        self._session = session
        self._volumeNode: vtkMRMLScalarVolumeNode | None = None
        self._drawnNode: vtkMRMLSegmentationNode | None = None
        self._segmentIds: list[str] = []
        self._styles: dict[int, SegmentStyle] = {}
        self._opacity = 1.0
        self._uncertaintyShown = self._shown3D = False

    def begin(self, volumeNode: vtkMRMLScalarVolumeNode, drawnNode: vtkMRMLSegmentationNode) -> None:
        """A job has started on these nodes; a result on others stays in the scene, but is no longer on show here."""
        if self.lastOn(volumeNode, drawnNode) is None:
            self._close()
        self._volumeNode, self._drawnNode = volumeNode, drawnNode
        self._segmentIds, self._styles = classSegmentIds(drawnNode), editableStyles(drawnNode)
        if drawnNode.GetDisplayNode() is not None:
            self._opacity = drawnNode.GetDisplayNode().GetOpacity()

    def adopt(self, volumeNode: vtkMRMLScalarVolumeNode, drawnNode: vtkMRMLSegmentationNode) -> DenseResult | None:
        """Show the result that the scene has of these nodes; None if there is none, or it is on show already."""
        found = rememberedResult(drawnNode) if self.lastOn(volumeNode, drawnNode) is None else None
        if found is None or not liesOn(found[0], volumeNode):
            return None
        self.begin(volumeNode, drawnNode)
        result, self._segmentIds, self._opacity = found
        self.end(result)
        return result

    def lastOn(self, volumeNode, drawnNode) -> DenseResult | None:
        """The result that is on show, if it is one of these nodes."""
        same = self._volumeNode is volumeNode and self._drawnNode is drawnNode
        return self.result if same and self.result is not None and inScene(self.result.uncertaintyNode) else None

    def annotationOn(self, volumeNode, drawnNode) -> str:
        """What the result that is on show was learned from, if it is one of these nodes and segments; "" else."""
        result = self.lastOn(volumeNode, drawnNode)
        same = result is not None and self.shownNode() is not None and self._segmentIds == classSegmentIds(drawnNode)
        return result.annotation if same else ""

    def showPreview(self, labels: np.ndarray, geometry: Geometry) -> None:
        """Show an intermediate result in a segmentation of its own, with what the user drew meanwhile."""
        if not inScene(self._volumeNode) or not inScene(self._drawnNode):
            return
        loop = self._loop()
        prediction = Prediction(labels, geometry, tuple(self._segmentIds))
        drawn, planes = (None, ()) if loop is None else (loop.labels, loop.table.finished)
        if loop is not None:
            prediction = prediction.completedBy(loop.prediction)
            self._session.predict(prediction)
        labels = prediction.withDrawn(drawn, planes, volumeGeometry(self._volumeNode), self._classes())
        if not inScene(self.previewNode):
            self.previewNode = addSegmentation(self._volumeNode, f"{self._drawnNode.GetName()} preview")
            self.previewNode.SetAttribute(INPUT_ATTRIBUTE, self._volumeNode.GetName())
            self._showResult(False)
        showPreview(self.previewNode, labels, geometry, self._styles)
        self._show()

    def end(self, result: DenseResult) -> None:
        """The job has ended with a result."""
        self.result = result
        rememberResult(self._drawnNode, result, self._segmentIds, self._opacity)
        if result.segmentationNode is not None:
            self.removePreview()
            if self._loop() is not None:
                whole = volumeGeometry(self._volumeNode)
                self._session.predict(Prediction(denseLabels(result, self._volumeNode), whole, tuple(self._segmentIds)))
            self.showDrawn()
        elif result.labelmapNode is not None:
            labels = volumeArray(result.labelmapNode)
            self.showPreview(np.array(labels), volumeGeometry(result.labelmapNode))
        self._show()

    def _show(self) -> None:
        """Show what is new as the user wants it."""
        self.refresh()
        self._show3D()
        self._session.tellState()

    def showDrawn(self, plane: Plane | None = None) -> None:
        """Show what is drawn on a slice, by default on each annotated one, in the place of what is predicted there."""
        node, loop = self.shownNode(), self._loop()
        if node is None or loop is None:
            return
        for shown in loop.table.finished if plane is None else (plane,):
            setSlice(node, self._volumeNode, shown, self._classes()[loop.labels[shown.voxels]])

    def _loop(self) -> AnnotationLoop | None:
        """The state of the drawing that the result is of; None where another one is chosen."""
        loop = self._session.loop
        same = loop is not None and loop.segmentationNode is self._drawnNode and loop.volumeNode is self._volumeNode
        return loop if same else None

    def shownNode(self) -> vtkMRMLSegmentationNode | None:
        """The segmentation that shows the result, or the preview of it."""
        if inScene(self.previewNode):
            return self.previewNode
        return self.result.segmentationNode if self.result is not None and inScene(self._resultNode()) else None

    def _resultNode(self) -> vtkMRMLSegmentationNode | None:
        return None if self.result is None else self.result.segmentationNode

    def _showResult(self, shown: bool) -> None:
        """Show the result's segmentation, or hide it behind a preview."""
        if inScene(self._resultNode()):
            other = isOfAnotherFrame(self._resultNode(), self._volumeNode)
            self._resultNode().GetDisplayNode().SetVisibility(shown and not other)

    def refresh(self) -> None:
        """Follow the parameter node: how the result is shown."""
        node = self._session.parameterNode
        if node is None:
            self.previewNode = self.result = self._volumeNode = self._drawnNode = None  # the scene closes
            return
        if self.shownNode() is not None:
            blend(self._drawnNode if inScene(self._drawnNode) else None, self.shownNode(), node.resultOpacity)
        self._showUncertainty(node.showUncertainty and not isOfAnotherFrame(self._drawnNode, self._volumeNode))
        if node.show3D != self._shown3D:
            self._show3D()

    def _showUncertainty(self, wanted: bool) -> None:
        """Put the uncertainty over the image or take it away; another overlay of the user's is left alone."""
        node = self.result.uncertaintyNode if self.result is not None else None
        if not inScene(node) or wanted == self._uncertaintyShown:
            return
        self._uncertaintyShown = wanted
        if wanted:
            slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=0.6)
        else:
            slicer.util.setSliceViewerLayers(foreground=None)

    @property
    def canApply(self) -> bool:
        """Whether there is a result of the drawing that is chosen, which the Segment Editor can undo in."""
        if self.result is None or self._loop() is None:
            return False
        return inScene(self.result.labelmapNode) or inScene(self.result.segmentationNode)

    def apply(self) -> None:
        """Write the result into the user's segmentation; the Segment Editor can undo it."""
        if not self.canApply:
            return
        with slicer.util.tryWithErrorDisplay(_("The result could not be applied."), waitCursor=True):
            node, spacing = self._session.parameterNode, volumeGeometry(self._volumeNode).spacing
            labels = finished(
                denseLabels(self.result, self._volumeNode), spacing, **{name: getattr(node, name) for name in WAYS}
            )
            applyResult(self._loop(), labels, self._segmentIds)
            self._session.ignoreChange()
            name = self._drawnNode.GetName()
            self._finish(_("The result was applied to {segmentation}.").format(segmentation=name))

    def keep(self) -> None:
        """Keep a copy of the result as it is now; later ones leave it alone."""
        node = self.shownNode()
        if node is not None:
            name = keepCopy(node).GetName()
            self._session.rounds.say(_("A copy is kept: {name}.").format(name=name))

    def discard(self) -> None:
        """Remove the result; the user's segmentation stays as it is."""
        result = self.result
        self._finish(_("The result was removed."))
        if result is not None:
            for node in (result.segmentationNode, result.labelmapNode, result.uncertaintyNode):
                if inScene(node):
                    removeWithColors(node)

    def removePreview(self) -> None:
        """Take the preview out of the scene."""
        if inScene(self.previewNode):
            slicer.mrmlScene.RemoveNode(self.previewNode)
        self.previewNode = None
        self._showResult(True)
        if inScene(self._drawnNode) and self._drawnNode.GetDisplayNode() is not None:
            self._drawnNode.GetDisplayNode().SetOpacity(self._opacity)

    def _finish(self, text: str) -> None:
        """The user is done with the result."""
        if inScene(self._drawnNode):
            forgetResult(self._drawnNode)
        self._close()
        self._session.parameterNode.show3D = False
        self._session.rounds.say(text)

    def _close(self) -> None:
        self._showUncertainty(False)
        self.removePreview()
        self._showResult(False)
        self.result = None
        self._session.predict(None)

    def _classes(self) -> np.ndarray:
        """From the segments as they are now to the classes of the training, ``(256,)``."""
        return classesFrom(classSegmentIds(self._drawnNode), self._segmentIds)

    def _show3D(self) -> None:
        """Show what is shown as a surface, too, or take the surface away."""
        node, shown = self.shownNode(), self._session.parameterNode.show3D
        self._shown3D = shown
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
