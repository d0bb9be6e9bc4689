"""Draw, correct, confirm: the state of one drawing on one volume, for the panel and for scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import slicer

from SparseSegLib.annotation import ObliquePlane, Plane, SparseLabels
from SparseSegModule.annotation import Drawing, readDrawing, rememberDrawn, takeDrawing
from SparseSegModule.drawnLabels import DrawnLabels
from SparseSegModule.planes import PlaneTable
from SparseSegModule.planesVolume import isTableOf, noteVolume
from SparseSegModule.planeTags import readTag, writeTag
from SparseSegModule.prediction import Prediction, classesFrom
from SparseSegModule.segmentChanges import changeSlice
from SparseSegModule.segmentLabels import Block
from SparseSegModule.segments import classSegmentIds, editableSegmentIds, segmentStyles
from SparseSegModule.strokes import afterStroke, crossingLines, fillsVolume
from SparseSegModule.volumes import addLabelmapNode, imageFromArray, volumeGeometry

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLLabelMapVolumeNode,
        vtkMRMLScalarVolumeNode,
        vtkMRMLSegmentationNode,
        vtkMRMLSegmentEditorNode,
    )

APPLIED_ROLE = "SparseSeg.applied"
APPLIED_NAME = "SparseSeg applied"


class AnnotationLoop:
    """The annotated slices of a segmentation on a volume, and what happens to them while the user draws.

    Drawing on a slice where something is predicted begins with taking the prediction over. A slice that is drawn on is
    being edited, until :meth:`confirm` or a stroke on another slice; nothing is learned from it before.

    Parameters
    ----------
    volumeNode, segmentationNode : the image, and what is drawn on it
    saveUndo : saves the segmentation's state, for the Segment Editor to undo what comes next
    editorNode : the Segment Editor's settings, whose masking is kept

    Attributes
    ----------
    table : PlaneTable
    saveUndo, editorNode : as they were given
    prediction : Prediction or None
        What corrections start from.
    scribble : whether strokes on a new slice label their own voxels alone
    revision : grows with every change of what there is to learn from
    """

    def __init__(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: vtkMRMLSegmentationNode,
        saveUndo: Callable[[], None] = lambda: None,
        editorNode: vtkMRMLSegmentEditorNode | None = None,
    ) -> None:
        self.volumeNode = volumeNode
        self.segmentationNode = segmentationNode
        self.prediction: Prediction | None = None
        self.scribble = False
        self.revision = 0
        self.saveUndo = saveUndo
        self.editorNode = editorNode
        self._pressed: Plane | None = None
        self._geometry = volumeGeometry(volumeNode)
        tag = readTag(segmentationNode)
        self.table = PlaneTable.fromText(tag if self.known else "")
        self._foreign = "" if self.known else tag  # of another volume, or of this one when it had another grid
        self._drawn = DrawnLabels(volumeNode, segmentationNode)

    @property
    def labels(self) -> np.ndarray:
        """The classes drawn ``(Z, Y, X)``, uint8, as of the last stroke."""
        return self._drawn.array

    @property
    def known(self) -> bool:
        """Whether a table of this segmentation on this volume, with the grid that it has, is known, be it empty."""
        return isTableOf(self.segmentationNode, self.volumeNode)

    @property
    def isOutdated(self) -> bool:
        """Whether the volume has another grid than it had when this began."""
        return not self._geometry.matches(volumeGeometry(self.volumeNode))

    @property
    def applied(self) -> vtkMRMLLabelMapVolumeNode | None:
        """Dense labels in the segmentation that are no annotation, ``DRAWN`` where the user had drawn."""
        return self.segmentationNode.GetNodeReference(APPLIED_ROLE) if self.known else None

    def setTable(self, table: PlaneTable) -> None:
        """Replace the table; it is kept with the segmentation."""
        self.revision += table.learned != self.table.learned
        self.table = table
        noteVolume(self.segmentationNode, self.volumeNode)
        writeTag(self.segmentationNode, table)

    def drawing(self) -> Drawing:
        """What is drawn now; AnnotationError if nothing is."""
        return takeDrawing(self.volumeNode, self.segmentationNode, self.table, self.applied, self.editorNode)

    def drawn(self) -> SparseLabels:
        """All that is drawn, be it nothing, that of the slice being edited included."""
        return readDrawing(self.volumeNode, self.segmentationNode, self.table, self.applied).drawnLabels()

    def press(self, plane: Plane | None) -> bool:
        """The mouse is pressed on a slice with a drawing tool: take the prediction over, if there is one.

        Returns whether anything was taken over.
        """
        self._pressed = plane
        if plane is None or self.scribble or self.table.find(plane.axis, plane.index) is not None:
            return False
        return self.takeOver(plane)

    def takeOver(self, plane: Plane) -> bool:
        """Make the prediction on a slice its drawing; what is drawn on it already stays. Whether there was any."""
        predicted = self.predictedOn(plane)
        if predicted is None:
            return False
        self.saveUndo()
        there = self._drawn.sliceNow(plane)
        free = (there == 0) & ~crossingLines(self.table.finished, plane, there.shape)
        ids = classSegmentIds(self.segmentationNode)
        masks = {ids[value - 1]: free & (predicted == value) for value in np.unique(predicted[predicted > 0])}
        changeSlice(self.segmentationNode, self.volumeNode, plane, masks)
        self.setTable(self.table.withEdited(plane, declared=True))
        self._drawn.changedOn(plane)
        return True

    def predictedOn(self, plane: Plane) -> np.ndarray | None:
        """The predicted classes of the segments as they are now on a slice ``(U, V)``; None if there is no prediction.

        Segments that are hidden or locked are left out.
        """
        if self.prediction is None:
            return None
        found = self.prediction.onSlice(plane, volumeGeometry(self.volumeNode))
        if found is None:
            return None
        ids, editable = classSegmentIds(self.segmentationNode), editableSegmentIds(self.segmentationNode)
        known = [segmentId if segmentId in editable else "" for segmentId in ids]
        return classesFrom(self.prediction.segmentIds, known)[found]

    def strokeEnded(self, views: list[ObliquePlane], learn: Callable[[int], bool] = lambda count: True) -> bool:
        """Follow what changed in the segmentation since the last time; whether the annotation changed.

        Where the mouse was pressed on a slice, only that slice is looked at.

        Parameters
        ----------
        views : the planes of the slice views on display
        learn : asked whether a change that fills a volume, of so many voxels, is annotation
        """
        pressed, self._pressed = self._pressed, None
        tag = readTag(self.segmentationNode)
        if tag and tag not in (self._foreign, self.table.toText()):  # undo or redo
            self.table = PlaneTable.fromText(tag)
            self._drawn.read()
            self.revision += 1
            return True
        before = self.labels
        changed = self._drawn.changedOn(pressed) if pressed is not None else self._drawn.changedAnywhere()
        if not len(changed):
            return False
        geometry = volumeGeometry(self.volumeNode)
        drawn = changed[self.labels[tuple(changed.T)] > 0]
        if pressed is None and fillsVolume(drawn, geometry, views) and not learn(len(drawn)):
            self.setAside(self._sparse(before))
            return False
        self.setTable(
            afterStroke(self.table, changed, self.labels, geometry, views, pressed=pressed, scribble=self.scribble)
        )
        edited = self.table.edited
        self.revision += edited is None or bool((changed[:, edited.axis] != edited.index).any())
        return True

    def confirm(self) -> bool:
        """Everything drawn is finished, that of the slice being edited included; whether any was being edited."""
        if self.table.edited is None:
            return False
        self.saveUndo()
        entry = self.table.find(self.table.edited.axis, self.table.edited.index)
        self.setTable(self.table.withPlane(replace(entry, declared=True)).confirmed())
        return True

    def setFinished(self, plane: Plane, finished: bool) -> bool:
        """Say whether all that is outside of the segments on a slice is background; whether that is new."""
        entry = self.table.find(plane.axis, plane.index)
        if entry is None or entry.finished == finished:
            return False
        self.setTable(self.table.withPlane(replace(entry, finished=finished, declared=True)))
        return True

    def remove(self, plane: Plane | ObliquePlane) -> None:
        """Give a slice back to the prediction: what is drawn on it goes, but for the lines of other slices.

        What is drawn on an oblique plane stays, as strokes.
        """
        self.saveUndo()
        if isinstance(plane, ObliquePlane):
            self.setTable(self.table.withoutOblique(plane))
            self.revision += 1
            return
        table = self.table.without(plane.axis, plane.index)
        there = self._drawn.sliceNow(plane)
        there[crossingLines(table.finished, plane, there.shape)] = 0
        ids = classSegmentIds(self.segmentationNode)
        masks = {ids[value - 1]: there == value for value in np.unique(there[there > 0])}
        changeSlice(self.segmentationNode, self.volumeNode, plane, masks, erase=True)
        self.setTable(table)
        self._drawn.changedOn(plane)
        self.revision += 1

    def addFound(self, planes: list[Plane]) -> None:
        """Take slices of a segmentation drawn earlier as annotated."""
        self.setTable(self.table.withFound(planes))

    def setAside(self, drawn: SparseLabels) -> None:
        """What the segmentation has now is no annotation but for ``drawn``: keep a copy, to know strokes from it."""
        last, geometry = self.applied, volumeGeometry(self.volumeNode)
        image = imageFromArray(rememberDrawn(self.labels, drawn))
        styles = segmentStyles(self.segmentationNode)
        names, colors = tuple(style.name for style in styles), [style.color for style in styles]
        node = addLabelmapNode(image, geometry, APPLIED_NAME, names, colors)
        node.SetHideFromEditors(True)
        self.segmentationNode.SetNodeReferenceID(APPLIED_ROLE, node.GetID())
        noteVolume(self.segmentationNode, self.volumeNode)
        if last is not None:
            slicer.mrmlScene.RemoveNode(last)

    def ignoreChange(self) -> None:
        """Ignore the last change of the segmentation: nobody drew."""
        self._drawn.read()

    def _sparse(self, labels: np.ndarray) -> SparseLabels:
        """Sparse labels as if ``labels`` ``(Z, Y, X)`` were drawn."""
        now = readDrawing(self.volumeNode, self.segmentationNode, self.table, self.applied)
        z, y, x = (slice(0, size) for size in labels.shape)
        return replace(now, classes=Block((z, y, x), labels)).drawnLabels()
