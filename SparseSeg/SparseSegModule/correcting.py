"""Correcting what a model has found: slice by slice, which is learned from, starting from the model's weights."""

from __future__ import annotations

from dataclasses import replace

import slicer
from slicer.i18n import tr as _

from SparseSegModule.modelWork import ModelResult
from SparseSegModule.results import MODEL_ATTRIBUTE, addSegmentation, inScene
from SparseSegModule.segmentLabels import resultLabels
from SparseSegModule.segments import addEmpty, segmentStyles
from SparseSegModule.session import Session
from SparseSegModule.volumes import volumeGeometry


def correctResult(session: Session, result: ModelResult) -> bool:
    """Make what a model has found the prediction on a new drawing of its volume; whether that could be.

    The first stroke on a slice takes it over, as with any prediction, and *Densify* starts from the model's weights.
    """
    volumeNode, madeNode = result.volumeNode, result.segmentationNode
    if not inScene(volumeNode) or not inScene(madeNode):
        slicer.util.errorDisplay(_("The result is no longer in the scene."))
        return False
    labels = resultLabels(madeNode, volumeNode)
    drawnNode = addSegmentation(volumeNode, f"{volumeNode.GetName()} corrected")
    for style in segmentStyles(madeNode):
        addEmpty(drawnNode, replace(style, algorithm=""))
    why = session.choose(volumeNode, drawnNode)
    if why:
        slicer.mrmlScene.RemoveNode(drawnNode)
        slicer.util.errorDisplay(why)
        return False
    session.parameterNode.start = madeNode.GetAttribute(MODEL_ATTRIBUTE) or ""
    madeNode.SetDisplayVisibility(False)
    session.view.begin(volumeNode, drawnNode)
    session.view.showPreview(labels, volumeGeometry(volumeNode))
    return True
