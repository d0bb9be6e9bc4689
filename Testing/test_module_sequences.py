"""Volumes that change with time: a model runs on every frame, and the results are browsed with them."""

import numpy as np
import pytest
import slicer
from host import Host
from module_helpers import add_phantom, middle, paint_plane
from phantoms import GEOMETRIES, blob

from SparseSegLib.errors import UsageError
from SparseSegLib.evaluation import dice
from SparseSegLib.protocol import CHECKPOINT_FILE


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
    handle = panel.logic.applyModel(str(bundle), volume_node, device="cpu", wait=False)
    assert Host.instance().wait(lambda: handle._job is not None, 20)
    _show(browser, 1)
    (result,) = handle.wait(60)
    assert "shows another frame" in result.error
    assert result.segmentationNode is None


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


def _show(browser, number):
    browser.SetSelectedItemNumber(number)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    Host.instance().processEvents(0.05)


def test_each_frame_has_its_drawing_and_the_next_begins_with_what_was_learned(panel, beating, monkeypatch):
    from SparseSegModule.densifyWork import DensifyWork

    browser, volume_node, truths = beating
    host, node, part = Host.instance(), panel.parameterNode, panel.session.rounds
    start, write, begun = panel.logic.densify, DensifyWork.write, []
    monkeypatch.setattr(panel.logic, "densify", lambda *a, **k: start(*a, **{**k, "budgetSteps": 6}))

    def watched(self, folder):
        write(self, folder)
        begun.append((folder / CHECKPOINT_FILE).exists())

    monkeypatch.setattr(DensifyWork, "write", watched)
    node.inputVolume = volume_node
    first = node.segmentation
    first.GetSegmentation().GetNthSegment(0).SetName("heart")
    for axis in range(2):
        paint_plane(first, volume_node, truths[0], middle(truths[0], axis))
    panel.ui.densifyButton.click()
    assert host.wait(lambda: panel.session.view.result is not None and not part.learner.learns, 60)
    result = panel.session.view.result

    _show(browser, 1)
    second = node.segmentation
    assert second is not first
    assert second.GetSegmentation().GetNthSegment(0).GetName() == "heart"
    assert panel.session.planes().planes == ()
    hidden = (first, result.segmentationNode)
    assert not any(shown.GetDisplayNode().GetVisibility() for shown in hidden)
    assert not panel.ui.applyButton.enabled
    with pytest.raises(UsageError, match="another frame"):
        start(volume_node, first)

    paint_plane(second, volume_node, truths[1], middle(truths[1], 0))
    panel.ui.densifyButton.click()
    assert host.wait(lambda: part.handle._job is not None, 20)
    _show(browser, 0)  # while it runs
    assert node.segmentation is first
    assert len(panel.session.planes().planes) == 2
    assert host.wait(lambda: not part.learner.learns, 60)
    ((kind, text),) = host.dialogs
    assert kind == "error"
    assert "shows another frame" in text
    assert begun == [False, True]
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert {shown for shown in segmentations if shown.GetDisplayNode().GetVisibility()} == set(hidden)
    assert panel.ui.applyButton.enabled
    host.dialogs.clear()
