"""The loop on the drawing that is chosen in the scene, for whatever shows it: draw, learn, correct, confirm, apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SparseSegLib.annotation import ObliquePlane, Plane
from SparseSegLib.errors import SparseSegError
from SparseSegModule.editor import Editor
from SparseSegModule.face import Face
from SparseSegModule.finding import offerToFind
from SparseSegModule.installation import Installation
from SparseSegModule.loop import AnnotationLoop
from SparseSegModule.parameterNode import SparseSegParameterNode, chosenNodes
from SparseSegModule.planes import PlaneTable
from SparseSegModule.prediction import Prediction
from SparseSegModule.refusals import whyNoDrawing, whyNoImage
from SparseSegModule.regionBox import RegionBox
from SparseSegModule.resultView import ResultView
from SparseSegModule.rounds import Rounds
from SparseSegModule.strokeWatch import StrokeWatch
from SparseSegModule.translation import errorText
from SparseSegModule.views import jumpTo, turnToVolume

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


class Session(VTKObservationMixin):
    """The one loop of a scene; the panel and the effect of the Segment Editor are its faces.

    Parameters
    ----------
    logic : SparseSegLogic

    Attributes
    ----------
    parameterNode : the user's choices, which decide what is worked on; None before a scene is followed
    installation : what is missing for learning
    regionBox, view : the region that is worked on, and preview and result, in the views
    rounds : the learning
    suggestion : the next slice worth annotating, or None
    choseBoth : whether volume and segmentation are being chosen together, so that neither is looked for
    faces : are told of changes
    """

    def __init__(self, logic: Any) -> None:
        VTKObservationMixin.__init__(self)
        self.logic = logic
        self.parameterNode: SparseSegParameterNode | None = None
        self.suggestion: Plane | None = None
        self.choseBoth = False
        self.installation = Installation()
        self.regionBox = RegionBox()
        self.view = ResultView(self)
        self.rounds = Rounds(self)
        self._strokes = StrokeWatch(self.annotated, self.view.showDrawn, self._tellNamed)
        self.faces: list[Face] = []
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEndImport)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodeRemoved)

    @property
    def loop(self) -> AnnotationLoop | None:
        """The state of the drawing that is chosen."""
        return self._strokes.loop

    @property
    def editor(self) -> Editor | None:
        """What the user edits with."""
        return self._strokes.editor

    def planes(self) -> PlaneTable:
        """The annotated slices."""
        return self.loop.table if self.loop is not None else PlaneTable()

    def follow(self, parameterNode: SparseSegParameterNode | None) -> None:
        """Work on what a parameter node says, or on nothing."""
        if self.parameterNode is not None:
            self.removeObserver(self.parameterNode, vtk.vtkCommand.ModifiedEvent, self.refresh)
        self.parameterNode = parameterNode
        if parameterNode is not None:
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.refresh)
        self.refresh()

    def refresh(self, caller: object = None, event: object = None) -> None:
        """Follow the parameter node."""
        chosen, loop = chosenNodes(self.parameterNode), self.loop
        known = None if loop is None else (loop.volumeNode, loop.segmentationNode)
        if chosen != known or (loop is not None and loop.isOutdated):
            self._strokes.follow(chosen)
            self.suggestion = None
        if self.loop is not None:
            self.loop.scribble = self.parameterNode.scribble
        self.rounds.refresh()
        self.view.refresh()
        self.regionBox.refresh(self.parameterNode, self.loop)
        for face in list(self.faces):
            face.onChosen()

    def choose(self, volumeNode: vtkMRMLScalarVolumeNode | None, segmentationNode: vtkMRMLSegmentationNode) -> str:
        """Work on these nodes; why that cannot be, or ""."""
        node = self.parameterNode
        if (node.inputVolume, node.segmentation) == (volumeNode, segmentationNode) and self.loop is not None:
            return ""
        if volumeNode is None or volumeNode.GetImageData() is None:
            return _("Choose a source volume.")
        why = whyNoImage(volumeNode) or whyNoDrawing(segmentationNode)
        if not why and self.rounds.learns and node.segmentation is not None:
            why = _("SparseSeg learns from {segmentation} now: finish or cancel that first.").format(
                segmentation=node.segmentation.GetName()
            )
        if not why:
            turnToVolume(volumeNode)
            self.choseBoth = True
            with slicer.util.NodeModify(node):
                node.inputVolume, node.segmentation = volumeNode, segmentationNode
            self.choseBoth = False
        return why

    def edit(self, editor: Editor) -> None:
        """The user edits with this Segment Editor now."""
        self._strokes.edit(editor)
        self.tellState()

    def release(self) -> None:
        """The user edits no longer: the mouse means nothing."""
        self._strokes.release()

    def showRegion(self, wanted: bool) -> None:
        """Show the region that is worked on, or do so no longer."""
        self.regionBox.wanted = wanted
        self.regionBox.refresh(self.parameterNode, self.loop)

    def close(self) -> None:
        """End the session, and its worker with it."""
        self.showRegion(False)
        self._strokes.stop()
        self.rounds.stop()
        self.view.removePreview()
        self.removeObservers()
        faces, self.faces = self.faces, []
        for face in faces:
            face.onClosed()

    def confirm(self) -> None:
        """The slice that is being edited is finished."""
        if self.loop is not None and self.loop.confirm():
            self.annotated()

    def takeOver(self) -> None:
        """Make the prediction on the slice under the pointer its drawing."""
        if self.loop is not None:
            self._strokes.takeOver()

    def jump(self, plane: Plane | ObliquePlane) -> None:
        """Show a slice."""
        try:
            jumpTo(self.loop.volumeNode, plane)
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))

    def showNext(self) -> None:
        """Show the next slice worth annotating."""
        if self.suggestion is not None:
            self.jump(self.suggestion)

    def densify(self) -> None:
        """Learn from what is drawn; the slice that was drawn on last is finished with it."""
        if self.loop is None or not self.installation.require():
            return
        if offerToFind(self.loop):
            self.annotated()
        self.confirm()
        try:
            self.rounds.begin()
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))

    def ignoreChange(self) -> None:
        """Ignore the last change of the segmentation: a result was applied, nobody drew."""
        self._strokes.ignoreChange()

    def predict(self, prediction: Prediction | None) -> None:
        """Let corrections start from a prediction, or from nothing."""
        if self.loop is not None:
            self.loop.prediction = prediction
        self.tellState()

    def suggest(self, plane: Plane | None) -> None:
        """Offer the next slice worth annotating."""
        self.suggestion = plane
        self.tellState()

    def annotated(self) -> None:
        """The annotation has changed: show it, and tell a worker that learns."""
        for face in list(self.faces):
            face.onAnnotated()
        self.regionBox.refresh(self.parameterNode, self.loop)
        self.rounds.annotationChanged()

    def tellState(self) -> None:
        """Have it shown what can be done."""
        for face in list(self.faces):
            face.onState()

    def tellProgress(self, event: dict[str, Any] | None = None) -> None:
        """Have it shown what is said of the learning."""
        for face in list(self.faces):
            face.onProgress(event)

    def _tellNamed(self) -> None:
        for face in list(self.faces):
            face.onNamed()

    def _onSceneStartClose(self, caller: object, event: object) -> None:
        """The scene goes, and every job on it."""
        self.logic.abandonJobs()
        self.release()
        self.follow(None)

    def _onSceneEndImport(self, caller: object, event: object) -> None:
        """A scene was loaded, and may have brought a parameter node."""
        if self.parameterNode is not None:
            self.follow(self.logic.getParameterNode())

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeRemoved(self, scene: Any, event: str, node: Any) -> None:
        """What is worked on may be gone."""
        loop = self.loop
        if loop is not None and node in (loop.volumeNode, loop.segmentationNode) and not scene.IsClosing():
            self.refresh()
