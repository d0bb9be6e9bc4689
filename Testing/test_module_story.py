"""The whole story in the stand-in host: open a volume, draw, densify in the real worker, draw on, stop, apply, undo,
save, load; and whatever may end while a job runs."""

import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
import slicer
from forked import launch_with
from host import Host
from module_helpers import add_phantom, middle, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.evaluation import iou
from SparseSegLib.jobs import start_worker


@pytest.fixture
def plain_workers(workers, monkeypatch):
    """Workers start as they do for a user."""
    launch_with(start_worker, monkeypatch)


def _rounds(panel):
    return panel.session.rounds


def _drawn_on(node):
    """A phantom and its volume node, chosen in the parameter node and outlined on a slice of each orientation."""
    phantom, volume_node = add_phantom()
    node.inputVolume = volume_node
    for axis in range(3):
        paint_plane(node.segmentation, volume_node, phantom.labels, middle(phantom.labels, axis))
    return phantom, volume_node


def _looks_like_something(picture) -> bool:
    """Whether a picture shows more than one plain surface."""
    return bool(np.unique(plt.imread(picture)[..., :3].reshape(-1, 3), axis=0).shape[0] > 20)


def test_from_an_open_volume_to_an_applied_segmentation_and_back(panel, plain_workers, tmp_path):
    from SparseSegModule.segmentLabels import classLabels
    from SparseSegModule.volumes import volumeArray

    host, ui, node = Host.instance(), panel.ui, panel.parameterNode
    phantom, volume_node = add_phantom(GEOMETRIES["oblique"])
    node.inputVolume = volume_node
    segmentation_node = node.segmentation
    shape = phantom.labels.shape

    def drawn():
        return classLabels(segmentation_node, volume_node).whole(shape)

    planes = [middle(phantom.labels, 0), middle(phantom.labels, 1), middle(phantom.labels, 0, 0.2)]
    for plane in planes:
        paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    assert set(panel.session.planes().finished) == set(planes)
    assert ui.planeTable.rowCount == 3

    node.budgetSeconds = 40
    ui.densifyButton.click()
    rounds = _rounds(panel)
    assert rounds.handle is not None
    assert ui.finishButton.enabled
    assert host.wait(lambda: panel.session.view.previewNode is not None, 40)
    untouched = drawn()
    host.screenshot(panel.parent, tmp_path / "panel.png")
    assert _looks_like_something(tmp_path / "panel.png")

    added = middle(phantom.labels, 0, 0.8)
    paint_plane(segmentation_node, volume_node, phantom.labels, added)
    ui.confirmButton.click()
    assert host.wait(lambda: "4 annotated slices from now on" in rounds._message, 20)
    ui.finishButton.click()
    assert host.wait(lambda: rounds.handle is None, 40)
    assert host.dialogs == []

    host.renderSlices(tmp_path / "slices.png", fit=True)
    assert _looks_like_something(tmp_path / "slices.png")

    result = panel.session.view.result
    dense = np.array(volumeArray(result.labelmapNode))
    assert iou(dense > 0, phantom.labels > 0) > 0.85
    for plane in [*planes, added]:
        np.testing.assert_array_equal(dense[plane.voxels], phantom.labels[plane.voxels])
    before = drawn()
    assert (before != untouched).any()
    assert before.sum() < dense.sum()
    assert result.labelmapNode.GetAttribute("SparseSeg.Input") == volume_node.GetName()
    assert panel.session.view.previewNode is None

    ui.applyButton.click()
    host.processEvents(0.1)
    np.testing.assert_array_equal(drawn(), dense)
    assert set(panel.session.planes().finished) == {*planes, added}
    ui.segmentEditorWidget.undo()
    host.processEvents(0.1)
    np.testing.assert_array_equal(drawn(), before)

    saved, table = host.saveScene(tmp_path / "scene"), panel.session.planes()
    host.closeScene()
    assert panel.parameterNode.inputVolume is None
    host.loadScene(saved)
    again = panel.parameterNode
    assert panel.session.planes() == table
    assert again.budgetSeconds == 40
    assert again.inputVolume.GetName() == volume_node.GetName()
    assert again.segmentation.GetName() == segmentation_node.GetName()
    np.testing.assert_array_equal(classLabels(again.segmentation, again.inputVolume).whole(shape), before)


def test_cancel_leaves_no_node_no_process_and_the_drawing_as_it_was(panel, plain_workers):
    host, ui, node = Host.instance(), panel.ui, panel.parameterNode
    _phantom, _volume_node = _drawn_on(node)
    names = {each.GetName() for each in slicer.util.getNodesByClass("vtkMRMLVolumeNode")}
    node.budgetSeconds = 60
    ui.densifyButton.click()
    rounds = _rounds(panel)
    handle = rounds.handle
    assert host.wait(lambda: panel.session.view.previewNode is not None, 40)
    process = handle._job._process
    ui.cancelButton.click()
    assert host.wait(lambda: rounds.handle is None, 2.5)
    assert process.poll() is not None
    assert panel.session.view.previewNode is None
    assert {each.GetName() for each in slicer.util.getNodesByClass("vtkMRMLVolumeNode")} == names
    assert host.wait(lambda: not handle.folder.exists(), 5)
    assert ui.progressLabel.text == "Canceled."
    assert host.dialogs == []


@pytest.mark.parametrize("end", ["leave", "close scene", "delete volume", "delete segmentation", "reload", "quit"])
def test_whatever_ends_while_a_job_runs_nothing_crashes_and_no_process_stays(panel, end):
    host, ui, node = Host.instance(), panel.ui, panel.parameterNode
    _phantom, volume_node = _drawn_on(node)
    node.budgetSeconds = 1
    ui.densifyButton.click()
    rounds = _rounds(panel)
    handle = rounds.handle
    assert host.wait(lambda: handle._job is not None, 10)
    process = handle._job._process
    if end == "leave":
        panel.exit()
        assert host.wait(lambda: handle.result is not None, 30)
        rounds.learner.abandon()  # it would wait for the next round
    elif end == "close scene":
        host.closeScene()
    elif end == "delete volume":
        slicer.mrmlScene.RemoveNode(volume_node)
    elif end == "delete segmentation":
        slicer.mrmlScene.RemoveNode(node.segmentation)
    elif end == "reload":
        slicer.util.reloadScriptedModule("SparseSeg")
    else:
        slicer.app.aboutToQuit.emit()
    assert host.wait(lambda: handle.ended and process.poll() is not None, 30)
    host.processEvents(0.3)
    assert host.errors == []
    if end in ("leave", "close scene", "delete volume", "delete segmentation"):
        assert not ui.finishButton.enabled
        assert ui.volumeSelector.enabled


def test_two_jobs_at_once_do_not_disturb_each_other(panel):
    from SparseSegModule.selfTest import annotate
    from SparseSegModule.volumes import volumeArray

    handles, truths = [], []
    for name in ("first", "second"):
        phantom, volume_node = add_phantom(name=name)
        segmentation_node, table = annotate(volume_node, phantom.labels, (2, 2, 2))
        handles.append(
            panel.logic.densify(volume_node, segmentation_node, budgetSteps=15, planes=table, wait=False, output="both")
        )
        truths.append(phantom.labels)
    assert len(panel.logic.jobs) == 2
    results = [handle.wait(90) for handle in handles]
    assert panel.logic.jobs == []
    names = {result.labelmapNode.GetName() for result in results}
    assert len(names) == 2
    for result, truth in zip(results, truths, strict=True):
        assert iou(volumeArray(result.labelmapNode) > 0, truth > 0) > 0.6


def test_errors_of_the_worker_are_shown_in_words(panel):
    host, ui, node = Host.instance(), panel.ui, panel.parameterNode
    _phantom, volume_node = _drawn_on(node)
    slicer.util.arrayFromVolume(volume_node)[:] = 7
    ui.densifyButton.click()
    assert host.wait(lambda: _rounds(panel).handle is None, 30)
    ((kind, text),) = host.dialogs
    assert kind == "error"
    assert "phantom" in text
    assert "same value" in text
    assert ui.densifyButton.enabled


def test_a_volume_that_is_changed_while_the_job_is_prepared_is_not_trained_on(panel, monkeypatch):
    """What was written may be half of the old and half of the new voxels."""
    from SparseSegModule.densifyWork import DensifyWork

    host, ui, node = Host.instance(), panel.ui, panel.parameterNode
    _phantom, volume_node = _drawn_on(node)
    write = DensifyWork.write
    monkeypatch.setattr(DensifyWork, "write", lambda self, folder: (time.sleep(0.3), write(self, folder)))
    ui.densifyButton.click()
    handle = _rounds(panel).handle
    slicer.util.arrayFromVolume(volume_node)[:10] = 0
    slicer.util.arrayFromVolumeModified(volume_node)
    assert host.wait(lambda: handle.ended, 30)
    assert handle._job is None
    assert "was changed" in host.dialogs[0][1]
    assert not handle.folder.exists() or host.wait(lambda: not handle.folder.exists(), 5)


def test_a_scene_that_is_added_while_a_job_runs_leaves_the_job_its_result(panel, tmp_path):
    """The added scene brings a parameter node of its own, which replaces what the panel shows."""
    host, ui, node = Host.instance(), panel.ui, panel.parameterNode
    node.inputVolume = add_phantom(name="other")[1]
    added = host.saveScene(tmp_path / "other")
    host.closeScene()
    node = panel.parameterNode
    phantom, _volume_node = _drawn_on(node)
    node.budgetSeconds = 3
    ui.densifyButton.click()
    handle = _rounds(panel).handle
    assert host.wait(lambda: handle._job is not None, 10)
    slicer.mrmlScene.SetURL(str(added))
    assert slicer.mrmlScene.Import()
    assert host.wait(lambda: handle.result is not None, 60)
    assert iou(slicer.util.arrayFromVolume(handle.result.labelmapNode) > 0, phantom.labels > 0) > 0.6
    assert slicer.util.getNode("other") is not None
    assert ui.densifyButton.enabled
