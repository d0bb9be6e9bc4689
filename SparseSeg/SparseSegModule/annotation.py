"""Sparse labels from the nodes in the scene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, find_planes, sparse_labels_from_segments
from SparseSegLib.errors import AnnotationError
from SparseSegLib.image import Geometry
from SparseSegModule.masking import protectedVoxels
from SparseSegModule.planes import PlaneTable
from SparseSegModule.prediction import Prediction
from SparseSegModule.segmentLabels import Block, backgroundStrokes, classLabels
from SparseSegModule.segments import SegmentStyle, editableSegmentIds, editableStyles, lockedSegmentIds, segmentStyles
from SparseSegModule.volumes import volumeArray, volumeGeometry

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLLabelMapVolumeNode,
        vtkMRMLScalarVolumeNode,
        vtkMRMLSegmentationNode,
        vtkMRMLSegmentEditorNode,
    )

STILL_THERE = 0.5  # fraction of an applied result
DRAWN = UNLABELED
"""Marks voxels of an applied result where the user had drawn: they stay annotation."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn, taken out of the nodes quickly; :meth:`sparseLabels` may then take its time in a thread.

    Attributes
    ----------
    geometry : the volume's grid
    classes, background : the segments that are worked on, and what is known to be none of them: strokes of segments
        named "background", and locked segments
    names : names of the classes 1..n
    styles : of those that are worked on, by their values
    table : which slices are annotated
    applied : (Z, Y, X) dense labels that were last applied to the segmentation, ``DRAWN`` where the user had drawn; or
        None
    protected : (Z, Y, X) mask of what must stay as it is (see ``protectedVoxels``), or None
    """

    geometry: Geometry
    classes: Block
    background: Block
    names: tuple[str, ...]
    styles: dict[int, SegmentStyle]
    table: PlaneTable
    applied: np.ndarray | None
    protected: np.ndarray | None = None

    def sparseLabels(self) -> SparseLabels:
        """Labels to learn from, without the slice that is being edited; AnnotationError if there are none."""
        labels = self.drawnLabels()
        if self.table.edited is not None:
            labels = _unlabeledOn(labels, self.table.edited)
        labels.validate()
        return labels

    def drawnLabels(self) -> SparseLabels:
        """All that is drawn as sparse labels on the volume's grid, whether or not anything can be learned from it.

        On finished slices everything is labeled; off them the strokes are, and nothing else. Where a dense result was
        applied, only what was drawn before or changed since counts as a stroke. Where nothing may be drawn, that
        nothing is drawn says nothing.
        """
        drawn = self.classes.whole(self.geometry.shape)
        background = self.background.whole(self.geometry.shape) > 0
        labels = sparse_labels_from_segments(
            drawn,
            self.geometry,
            self.table.finished,
            background=background,
            oblique=self.table.oblique,
            names=self.names,
        )
        if self.applied is not None and self.applied.shape == drawn.shape:
            worked = np.isin(np.arange(256), [*self.styles, DRAWN]) * np.arange(256, dtype=np.uint8)
            labels = _withoutApplied(labels, drawn, background, worked[self.applied])
        if self.protected is not None:
            labels.array[self.protected & ~background & (labels.array == 0)] = UNLABELED
        return labels

    def masked(self, labels: np.ndarray, geometry: Geometry) -> np.ndarray:
        """Predicted labels of a part of the volume, with what is drawn where they must not change it."""
        if self.protected is None:
            return labels
        box = Prediction(labels, geometry, ()).boxIn(self.geometry)
        drawn = self.classes.whole(self.geometry.shape)[box]
        return np.where(self.protected[box] & (labels != UNLABELED), drawn, labels)


def takeDrawing(
    volumeNode: vtkMRMLScalarVolumeNode,
    segmentationNode: vtkMRMLSegmentationNode,
    table: PlaneTable,
    appliedNode: vtkMRMLLabelMapVolumeNode | None = None,
    editorNode: vtkMRMLSegmentEditorNode | None = None,
) -> Drawing:
    """Take what is drawn out of the nodes, and where that may be changed; AnnotationError if nothing is drawn."""
    drawing = readDrawing(volumeNode, segmentationNode, table, appliedNode)
    drawing = replace(drawing, protected=protectedVoxels(volumeNode, segmentationNode, editorNode))
    return _checked(drawing)


def takeEverySegment(
    volumeNode: vtkMRMLScalarVolumeNode, segmentationNode: vtkMRMLSegmentationNode, table: PlaneTable
) -> Drawing:
    """The same of all segments, hidden and locked ones included: a model learns what is finished."""
    everyone = dict(enumerate(segmentStyles(segmentationNode), start=1))
    classes = classLabels(segmentationNode, volumeNode)
    background = backgroundStrokes(segmentationNode, volumeNode)
    names = tuple(style.name for style in everyone.values())
    return _checked(Drawing(volumeGeometry(volumeNode), classes, background, names, everyone, table, None))


def _checked(drawing: Drawing) -> Drawing:
    if not drawing.classes.labels.any():
        raise AnnotationError("Nothing is drawn yet.", "Outline the structure on a few slices, then press Densify.")
    return drawing


def readDrawing(
    volumeNode: vtkMRMLScalarVolumeNode,
    segmentationNode: vtkMRMLSegmentationNode,
    table: PlaneTable,
    appliedNode: vtkMRMLLabelMapVolumeNode | None = None,
) -> Drawing:
    """What is drawn, be it nothing."""
    classes = classLabels(segmentationNode, volumeNode, editableSegmentIds(segmentationNode))
    applied = None
    if appliedNode is not None and appliedNode.GetImageData() is not None:
        applied = volumeArray(appliedNode)
    names = tuple(style.name for style in segmentStyles(segmentationNode))
    background = backgroundStrokes(segmentationNode, volumeNode, lockedSegmentIds(segmentationNode))
    styles = editableStyles(segmentationNode)
    return Drawing(volumeGeometry(volumeNode), classes, background, names, styles, table, applied)


def rememberDrawn(applied: np.ndarray, labels: SparseLabels) -> np.ndarray:
    """Dense labels as they are remembered when they are applied: what the user drew is marked in them."""
    marked = applied.copy()
    marked[labels.labeled & (labels.array > 0)] = DRAWN
    return marked


def findPlanes(
    volumeNode: vtkMRMLScalarVolumeNode, segmentationNode: vtkMRMLSegmentationNode, *, everySegment: bool = False
) -> list[Plane]:
    """The slices on which a segmentation was drawn earlier, found from the shape of the segments that are worked on."""
    geometry = volumeGeometry(volumeNode)
    only = None if everySegment else editableSegmentIds(segmentationNode)
    return find_planes(classLabels(segmentationNode, volumeNode, only).whole(geometry.shape))


def _unlabeledOn(labels: SparseLabels, plane: Plane) -> SparseLabels:
    """The labels without those of one slice, but for the lines on it that belong to other annotated slices."""
    array = labels.array.copy()
    array[plane.voxels] = UNLABELED
    others = tuple(other for other in labels.planes if other != plane)
    masks = [pose.mask(labels.geometry) for pose in labels.oblique]
    for kept in (*(other.voxels for other in others), *masks):
        array[kept] = labels.array[kept]
    return SparseLabels(array, labels.geometry, others, labels.names, labels.oblique)


def _withoutApplied(
    labels: SparseLabels, drawn: np.ndarray, background: np.ndarray, applied: np.ndarray
) -> SparseLabels:
    """Off the annotated slices an applied result is no annotation; what was changed in it is.

    Where most of it is gone, it was undone, and nothing is to be taken away.
    """
    dense = (applied > 0) & (applied != DRAWN)
    if dense.any() and (drawn[dense] == applied[dense]).mean() < STILL_THERE:
        return labels
    array = labels.array.copy()
    array[labels.strokes & (drawn == applied) & ~background] = UNLABELED
    array[(drawn == 0) & (applied > 0) & (array == UNLABELED)] = 0
    return SparseLabels(array, labels.geometry, labels.planes, labels.names, labels.oblique)
