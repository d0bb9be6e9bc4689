"""The panel for the loop: hints, the sample, how results are finished."""

import numpy as np
import slicer
from host import Host
from module_helpers import add_phantom, middle, paint_plane
from scipy import ndimage

from SparseSegLib.annotation import Plane

HINTS = 7


def test_the_hints_lead_from_the_sample_to_densify_and_go_with_the_first_result(panel):
    from SparseSegModule.densifyWork import DenseResult
    from SparseSegModule.hintsPart import SEEN_SETTING

    slicer.app.userSettings().setValue(SEEN_SETTING, False)
    ui, host = panel.ui, Host.instance()
    panel.parts[HINTS]._seen = False
    panel.refresh()
    assert "<b>1</b>" in ui.hintLabel.text
    ui.sampleButton.click()
    host.processEvents(0.1)
    volume_node = panel.parameterNode.inputVolume
    assert volume_node.GetName() == "SparseSegSarcoma"
    assert "<b>2</b>" in ui.hintLabel.text
    assert not ui.sampleButton.visible
    square = np.zeros(slicer.util.arrayFromVolume(volume_node).shape, np.uint8)
    square[30, 40:60, 40:60] = 1
    paint_plane(panel.parameterNode.segmentation, volume_node, square, Plane(0, 30))
    assert "<b>3</b>" in ui.hintLabel.text
    panel.session.view.result = DenseResult(None, None, None, None, None, 1.0, 1)
    panel.refresh()
    assert not ui.hintFrame.visible
    panel.session.view.result = None
    panel.refresh()
    assert not ui.hintFrame.visible


def test_an_applied_result_is_finished_as_chosen_and_drawn_slices_are_not(panel):
    from SparseSegModule.densifyWork import DenseResult
    from SparseSegModule.results import addSegmentation, describe
    from SparseSegModule.segmentChanges import setLabels
    from SparseSegModule.segmentLabels import classLabels
    from SparseSegModule.segments import editableStyles
    from SparseSegModule.volumes import addUncertaintyNode, ijkToRas, imageFromArray, volumeGeometry

    phantom, volume_node = add_phantom()
    node = panel.parameterNode
    node.inputVolume = volume_node
    plane = middle(phantom.labels, 0)
    drawn = phantom.labels.copy()
    drawn[plane.index, :2, :2] = 1  # an island that the user drew
    paint_plane(node.segmentation, volume_node, drawn, plane)
    dense = phantom.labels.copy()
    inside = ndimage.binary_erosion(dense == 1)
    inside[plane.index] = False
    hole = tuple(np.argwhere(inside)[0])
    dense[hole] = 0
    dense[1, 1, 1] = 1
    view = panel.session.view
    view.begin(volume_node, node.segmentation)
    result = addSegmentation(volume_node, "result")
    setLabels(result, dense, ijkToRas(volume_node), editableStyles(node.segmentation))
    unsure = addUncertaintyNode(imageFromArray(0.0 * dense), volumeGeometry(volume_node), "unsure")
    for each in (result, unsure):
        describe(each, volume_node, {"preset": "fast"})
    view.end(DenseResult(None, result, unsure, None, None, 1.0, 1))
    node.largestIsland = node.fillHoles = True
    panel.ui.applyButton.click()
    applied = classLabels(node.segmentation, volume_node).whole(dense.shape)
    assert applied[hole] == 1
    assert applied[1, 1, 1] == 0
    np.testing.assert_array_equal(applied[plane.voxels], drawn[plane.voxels])


def test_a_smoothed_structure_keeps_its_size_and_takes_nothing_from_another():
    from SparseSegModule.finishing import finished

    labels = np.zeros((20, 30, 30), np.uint8)
    labels[5:15, 5:25, 5:15] = 1
    labels[5:15, 5:25, 15:25] = 2
    rng = np.random.default_rng(0)
    rough = np.where((labels == 1) & (rng.random(labels.shape) < 0.1), 0, labels).astype(np.uint8)
    smooth = finished(rough, (1.0, 1.0, 1.0), smooth=True)
    assert (smooth[6:14, 6:24, 6:14] == 1).mean() > 0.99
    np.testing.assert_array_equal(smooth[6:14, 6:24, 16:24], 2)
    assert 0.85 < (smooth == 1).sum() / (labels == 1).sum() < 1.05
