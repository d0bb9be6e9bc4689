"""The module's self test, in Slicer itself and in the stand-in host."""

from __future__ import annotations

import numpy as np
import slicer

from SparseSegLib.annotation import sparsify
from SparseSegLib.errors import AnnotationError
from SparseSegModule.planes import AnnotatedPlane, PlaneTable
from SparseSegModule.results import addSegmentation
from SparseSegModule.sampleData import LABELS, VOLUME, registerSampleData
from SparseSegModule.segmentChanges import applyLabels, setLabels
from SparseSegModule.segmentLabels import classLabels
from SparseSegModule.segments import SegmentStyle, classSegmentIds
from SparseSegModule.volumes import ijkToRas, volumeArray, volumeGeometry

SLICES = (2, 3, 3)  # along z, y, x
NAME = "white matter"


def loadSample() -> tuple:
    """The sample volume and the labelmap of its white matter, as nodes."""
    import SampleData

    registerSampleData()
    return SampleData.downloadSample(VOLUME), SampleData.downloadSample(LABELS)


def annotate(volumeNode, truth: np.ndarray, slices: tuple[int, int, int] = SLICES) -> tuple:
    """Draw the truth on a few slices; the segmentation node and the table of its slices."""
    labels = sparsify(truth, volumeGeometry(volumeNode), slices, names=(NAME,))
    segmentationNode = addSegmentation(volumeNode, "drawn")
    drawn = np.where(labels.labeled, labels.array, 0).astype(np.uint8)
    setLabels(segmentationNode, drawn, ijkToRas(volumeNode), {1: SegmentStyle(NAME, (0.9, 0.8, 0.3))})
    table = PlaneTable()
    for plane in labels.planes:
        table = table.withPlane(AnnotatedPlane(plane.axis, plane.index))
    return segmentationNode, table


def densifySample(logic, seconds: float) -> float:
    """Densify the sample from eight slices and apply the result; the IoU off those slices."""
    volumeNode, truthNode = loadSample()
    truth = (volumeArray(truthNode) > 0).astype(np.uint8)
    segmentationNode, table = annotate(volumeNode, truth)
    result = logic.densify(volumeNode, segmentationNode, budgetSeconds=seconds, planes=table)
    dense = volumeArray(result.labelmapNode)
    applyLabels(segmentationNode, volumeNode, dense, ijkToRas(volumeNode), {1: classSegmentIds(segmentationNode)[0]})
    applied = classLabels(segmentationNode, volumeNode).whole(dense.shape)
    unseen = np.ones(dense.shape, bool)
    for plane in table.finished:
        unseen[plane.voxels] = False
    found, wanted = (applied == 1) & unseen, (truth == 1) & unseen
    return float((found & wanted).sum() / (found | wanted).sum())


def refusesEmptySegmentation(logic) -> bool:
    """Whether densifying an empty segmentation is refused, and leaves the scene as it was."""
    volumeNode = slicer.util.addVolumeFromArray(np.random.default_rng(0).random((8, 9, 10)))
    segmentationNode = addSegmentation(volumeNode, "empty")
    logic.getParameterNode()  # it is made when it is asked for first
    before = slicer.mrmlScene.GetNumberOfNodes()
    try:
        logic.densify(volumeNode, segmentationNode, budgetSeconds=1)
    except AnnotationError as error:
        return "drawn" in str(error) and slicer.mrmlScene.GetNumberOfNodes() == before
    return False
