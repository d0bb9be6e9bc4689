"""Volumes that change with time: a model runs on every frame, and the results are browsed with them."""

import numpy as np
import pytest
import slicer
from module_helpers import add_phantom
from phantoms import GEOMETRIES, blob

from SparseSegLib.evaluation import dice


@pytest.fixture
def beating():
    """A sequence of two phantoms and the volume that shows the selected one; and their truths."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "beating")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    truths = []
    for seed in range(2):
        node = add_phantom(GEOMETRIES["identity"])[1]
        other = blob(GEOMETRIES["identity"], seed=seed)
        slicer.util.updateVolumeFromArray(node, other.volume.array[0] * 100)
        sequence.SetDataNodeAtValue(node, str(seed))
        slicer.mrmlScene.RemoveNode(node)
        truths.append(other.labels)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser, browser.GetProxyNode(sequence), truths


def test_every_frame_gets_its_own_segmentation_on_request(panel, bundle, beating):
    from SparseSegModule.segmentLabels import classLabels

    browser, volume_node, truths = beating
    (result,) = panel.logic.applyModel(str(bundle), volume_node, allFrames=True, device="cpu")
    assert result.error == ""
    assert browser.GetSequenceNode(result.segmentationNode).GetNumberOfDataNodes() == 2
    for number, truth in enumerate(truths):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        found = classLabels(result.segmentationNode, volume_node).whole(truth.shape)
        assert dice(found == 1, truth == 1) > 0.8
    made = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if "(Blob)" in node.GetName()]
    assert [node.GetName() for node in made] == [result.segmentationNode.GetName()]


def test_without_the_request_the_selected_frame_alone_is_segmented(panel, bundle, beating):
    browser, volume_node, _truths = beating
    (result,) = panel.logic.applyModel(str(bundle), volume_node, device="cpu", output="segmentation")
    assert result.error == ""
    assert browser.GetSequenceNode(result.segmentationNode) is None


def test_a_frame_that_fails_is_named_and_the_others_stay(panel, bundle, beating):
    browser, volume_node, _truths = beating
    frame = browser.GetSequenceNode(volume_node).GetNthDataNode(1)
    slicer.util.arrayFromVolume(frame)[:] = 5
    (result,) = panel.logic.applyModel(str(bundle), volume_node, allFrames=True, device="cpu")
    assert "time 1" in result.error
    assert browser.GetSequenceNode(result.segmentationNode).GetNumberOfDataNodes() == 1
    browser.SetSelectedItemNumber(1)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    assert result.segmentationNode.GetSegmentation().GetNumberOfSegments() == 0
    assert np.count_nonzero(slicer.util.arrayFromVolume(frame) - 5) == 0


def test_frames_named_by_words_all_get_a_segmentation_and_nothing_is_lost_if_the_sequence_goes(panel, bundle, beating):
    browser, volume_node, _truths = beating
    sequence = browser.GetSequenceNode(volume_node)
    sequence.SetIndexType(sequence.TextIndex)
    sequence.UpdateIndexValue("0", "rest")
    sequence.UpdateIndexValue("1", "stress")
    (result,) = panel.logic.applyModel(str(bundle), volume_node, allFrames=True, device="cpu")
    made = browser.GetSequenceNode(result.segmentationNode)
    assert [made.GetNthIndexValue(number) for number in range(made.GetNumberOfDataNodes())] == ["rest", "stress"]
    handle = panel.logic.applyModel(str(bundle), volume_node, allFrames=True, device="cpu", wait=False)
    slicer.mrmlScene.RemoveNode(browser)
    (result,) = handle.wait(60)
    assert result.error == ""
    assert "rest" in result.segmentationNode.GetName()
