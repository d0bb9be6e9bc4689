"""Apply: a dense result becomes the user's segmentation, as far as that may be changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SparseSegLib.annotation import UNLABELED
from SparseSegModule.loop import AnnotationLoop
from SparseSegModule.masking import protectedVoxels
from SparseSegModule.prediction import classesFrom
from SparseSegModule.segmentChanges import applyLabels, eraseLabels
from SparseSegModule.segmentLabels import classLabels
from SparseSegModule.segments import classSegmentIds, editableSegmentIds, lockedSegmentIds
from SparseSegModule.volumes import ijkToRas


def applyResult(loop: AnnotationLoop, labels: np.ndarray, segmentIds: Sequence[str]) -> None:
    """Write a dense result into the segmentation that it was learned from; what was drawn stands.

    Locked segments stay, and so does everything where the Segment Editor's masking protects it; of hidden segments its
    *Modify other segments* decides. The dense labels are no annotation from then on.

    Parameters
    ----------
    loop : the drawing
    labels : (Z, Y, X) classes on the volume's grid
    segmentIds : of the classes 1..n

    Raises
    ------
    AnnotationError
        If a segment that the result belongs to was removed.
    """
    volumeNode, segmentationNode, editorNode = loop.volumeNode, loop.segmentationNode, loop.editorNode
    now = classSegmentIds(segmentationNode)
    classes = classesFrom(now, segmentIds)
    drawn = loop.drawn()
    own = classes[drawn.array]
    labels = np.where(own != UNLABELED, own, labels)
    editable = editableSegmentIds(segmentationNode)
    protected = protectedVoxels(volumeNode, segmentationNode, editorNode)
    if protected is not None:
        there = classes[classLabels(segmentationNode, volumeNode, editable).whole(labels.shape)]
        labels = np.where(protected, there, labels)
    changed = {value: name for value, name in enumerate(segmentIds, start=1) if name in editable or name not in now}
    loop.saveUndo()
    applyLabels(segmentationNode, volumeNode, labels, ijkToRas(volumeNode), changed)
    if editorNode is not None and editorNode.GetOverwriteMode() == editorNode.OverwriteAllSegments:
        hidden = [name for name in now if name not in [*editable, *lockedSegmentIds(segmentationNode)]]
        eraseLabels(segmentationNode, volumeNode, hidden, labels > 0)
    loop.ignoreChange()
    loop.setAside(drawn)
