"""The worker behind the panel: prepared with the first stroke, kept, taught live, started again if it dies."""

import json
import threading

import numpy as np
import pytest
import slicer
from forked import launch_with
from host import Host
from module_helpers import add_phantom, middle, paint_plane
from recorded import RecordedStaying

from SparseSegLib.jobs import Job
from SparseSegLib.protocol import encode

STEPS = 6


@pytest.fixture
def drawn(panel, monkeypatch):
    """A panel with a phantom that is outlined on a slice of each orientation; rounds are a few steps."""
    start = panel.logic.densify
    monkeypatch.setattr(panel.logic, "densify", lambda *a, **k: start(*a, **{**k, "budgetSteps": STEPS}))
    phantom, volume_node = add_phantom()
    node = panel.parameterNode
    node.inputVolume = volume_node
    for axis in range(3):
        paint_plane(node.segmentation, volume_node, phantom.labels, middle(phantom.labels, axis))
    return panel, phantom, volume_node


def _wait_for_round(panel):
    rounds = panel.session.rounds
    assert Host.instance().wait(lambda: panel.session.view.result is not None and not rounds.learner.learns, 60)
    return panel.session.view.result


def _process(panel):
    return panel.session.rounds.learner.handle._job._process


@pytest.mark.prepares
def test_the_first_stroke_prepares_a_worker_that_learns_and_stays(drawn):
    panel, phantom, _volume_node = drawn
    host, rounds = Host.instance(), panel.session.rounds
    assert host.wait(lambda: rounds.learner.handle._job is not None, 20)
    process = _process(panel)
    assert not rounds.learner.learns
    assert panel.ui.densifyButton.enabled
    previews, show = [], panel.session.view.showPreview
    panel.session.view.showPreview = lambda labels, geometry: (previews.append(labels), show(labels, geometry))
    panel.ui.densifyButton.click()
    first = _wait_for_round(panel)
    assert previews
    assert _process(panel) is process
    dense = slicer.util.arrayFromVolume(first.labelmapNode)
    for axis in range(3):
        plane = middle(phantom.labels, axis)
        np.testing.assert_array_equal(dense[plane.voxels], phantom.labels[plane.voxels])
    voxel = np.prod(first.labelmapNode.GetSpacing()) / 1000
    assert first.milliliters == {"object": pytest.approx((dense == 1).sum() * voxel)}
    assert process.poll() is None


def test_live_learns_from_a_slice_when_it_is_confirmed(drawn):
    panel, phantom, volume_node = drawn
    host, rounds = Host.instance(), panel.session.rounds
    panel.ui.densifyButton.click()
    first = _wait_for_round(panel)
    process, results = _process(panel), []
    panel.parameterNode.live = True
    end = panel.session.view.end
    panel.session.view.end = lambda result: (results.append(result), end(result))
    plane = middle(phantom.labels, 0, 0.2)
    paint_plane(panel.parameterNode.segmentation, volume_node, phantom.labels, plane)
    host.processEvents(0.5)
    assert not rounds.learner.learns
    panel.ui.confirmButton.click()
    assert host.wait(lambda: results, 60)
    assert results[0].labelmapNode is first.labelmapNode
    np.testing.assert_array_equal(
        slicer.util.arrayFromVolume(first.labelmapNode)[plane.voxels], phantom.labels[plane.voxels]
    )
    assert _process(panel) is process


def test_a_result_stays_on_display_in_a_round_that_learns_nothing_new(drawn):
    panel, phantom, volume_node = drawn
    view, previews = panel.session.view, []
    show = view.showPreview
    view.showPreview = lambda labels, geometry: (previews.append(labels), show(labels, geometry))
    panel.ui.densifyButton.click()
    first = _wait_for_round(panel)
    assert previews
    previews.clear()
    panel.ui.densifyButton.click()
    second = _wait_for_round(panel)
    assert (previews, view.previewNode) == ([], None)
    assert second.steps > first.steps
    plane = middle(phantom.labels, 0, 0.2)
    paint_plane(panel.parameterNode.segmentation, volume_node, phantom.labels, plane)
    panel.ui.densifyButton.click()
    assert _wait_for_round(panel).annotation != first.annotation == second.annotation
    assert previews, "what is new is seen soon"
    assert panel.session.rounds._learning().settings["shown"]
    panel.ui.discardButton.click()
    assert not panel.session.rounds._learning().settings["shown"], "nothing is on display"


def test_a_worker_that_dies_in_a_round_is_started_again_and_loses_no_stroke(drawn):
    panel, phantom, _volume_node = drawn
    host, rounds = Host.instance(), panel.session.rounds
    panel.ui.densifyButton.click()
    assert host.wait(lambda: rounds.learner.handle._job is not None, 20)
    first = _process(panel)
    first.kill_tree()
    result = _wait_for_round(panel)
    assert _process(panel) is not first
    assert host.dialogs == []
    dense = slicer.util.arrayFromVolume(result.labelmapNode)
    for axis in range(3):
        plane = middle(phantom.labels, axis)
        np.testing.assert_array_equal(dense[plane.voxels], phantom.labels[plane.voxels])


def test_a_worker_that_dies_while_it_waits_is_replaced_in_the_next_round(drawn):
    panel, _phantom, _volume_node = drawn
    host, rounds = Host.instance(), panel.session.rounds
    panel.ui.densifyButton.click()
    _wait_for_round(panel)
    _process(panel).kill_tree()
    assert host.wait(lambda: rounds.learner.handle is None, 20)
    assert host.dialogs == []
    assert "next round" in panel.ui.progressLabel.text
    panel.ui.densifyButton.click()
    assert host.wait(lambda: rounds.learner.learns, 20)
    _wait_for_round(panel)


def test_a_segment_that_is_added_in_a_round_is_learned_too(drawn):
    panel, phantom, volume_node = drawn
    host, rounds = Host.instance(), panel.session.rounds
    panel.ui.densifyButton.click()
    assert host.wait(lambda: rounds.learner.handle._job is not None, 20)
    node = panel.parameterNode.segmentation
    node.GetSegmentation().AddEmptySegment("", "second")
    plane = middle(phantom.labels, 0, 0.2)
    both = np.where(phantom.labels > 0, 1, 0).astype(np.uint8)
    both[plane.index, :3, :3] = 2
    for value in (1, 2):
        paint_plane(node, volume_node, both, plane, value)
    panel.ui.confirmButton.click()
    result = _wait_for_round(panel)
    assert list(result.milliliters) == ["object", "second"]
    dense = slicer.util.arrayFromVolume(result.labelmapNode)
    np.testing.assert_array_equal(dense[plane.voxels], both[plane.voxels])
    assert panel.session.view.shownNode().GetSegmentation().GetNumberOfSegments() == 2


@pytest.mark.prepares
def test_settings_of_a_round_keep_the_worker(drawn):
    panel, _phantom, _volume_node = drawn
    host, rounds, node = Host.instance(), panel.session.rounds, panel.parameterNode
    assert host.wait(lambda: rounds.learner.handle._job is not None, 20)
    process = _process(panel)
    steps = []
    for changes in ({"budgetSeconds": 30}, {"seed": 5, "margin": 0.2}, {"preset": "balanced"}):
        for name, value in changes.items():
            setattr(node, name, value)
        panel.session.view.result = None
        panel.ui.densifyButton.click()
        result = _wait_for_round(panel)
        steps.append(result.steps)
        settings = json.loads(result.segmentationNode.GetAttribute("SparseSeg.Settings"))
        assert {name: getattr(node, name) for name in ("seed", "margin", "preset")}.items() <= settings.items()
        assert settings["budget_seconds"] == 30
    assert steps == [STEPS] * 3  # a first round each, with new networks
    assert _process(panel) is process
    assert result.segmentationNode.GetAttribute("SparseSeg.Model") == "balanced"


def test_the_output_is_chosen_anew_for_each_round(drawn):
    panel, _phantom, _volume_node = drawn
    process = None
    for output, has in (("both", True), ("segmentation", False)):
        panel.parameterNode.output = output
        panel.ui.densifyButton.click()
        result = _wait_for_round(panel)
        assert (result.labelmapNode is not None) is has
        assert process in (None, _process(panel))
        process, panel.session.view.result = _process(panel), None


def test_another_image_has_another_worker(drawn):
    panel, _phantom, volume_node = drawn
    panel.ui.densifyButton.click()
    _wait_for_round(panel)
    first = _process(panel)
    slicer.util.arrayFromVolume(volume_node)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume_node)
    panel.ui.densifyButton.click()
    assert Host.instance().wait(lambda: panel.session.rounds.learner.handle._job is not None, 20)
    assert _process(panel) is not first
    assert Host.instance().wait(lambda: first.poll() is not None, 20)


def test_what_cannot_be_learned_from_is_said_and_the_worker_goes_on_waiting(drawn):
    panel, _phantom, _volume_node = drawn
    host, rounds = Host.instance(), panel.session.rounds
    panel.ui.densifyButton.click()
    _wait_for_round(panel)
    loop, table = panel.session.loop, panel.session.planes()
    for plane in table.finished:
        loop.setFinished(plane, False)
    panel.ui.densifyButton.click()
    assert host.wait(lambda: "no background" in panel.ui.progressLabel.text, 20)
    assert not rounds.learner.learns
    loop.setTable(table)
    panel.ui.densifyButton.click()
    assert rounds.learner.learns
    _wait_for_round(panel)


class _Numbered:
    """Work whose results are the numbers of the rounds."""

    def read(self, _folder, event):
        return event["round"]

    def deliver(self, results, _event):
        return results

    def write(self, *_arguments):
        """Nothing to do."""

    checkInputs = inputsRead = keep = show = readPreview = write  # noqa: N815


def test_a_round_that_begins_while_the_last_one_is_delivered_is_learning(panel, tmp_path, monkeypatch):
    """Of a slice that is confirmed in the last moment of a round."""
    from SparseSegModule.jobHandle import JobHandle

    step = encode("progress", step=1, fraction=0.5, loss=None, seconds_left=None)
    lines = [encode("started", protocol=1, version=""), step, encode("round", round=1, files={}, figures={"steps": 1})]
    for further, learning in (([], False), ([step], True)):
        output = "".join(f"{line}\n" for line in [*lines, *further]).encode()
        launch_with(lambda *_, output=output: RecordedStaying(output), monkeypatch)
        folder = tmp_path / str(learning)
        folder.mkdir()
        handle = JobHandle(folder, _Numbered())
        assert Host.instance().wait(lambda handle=handle: handle.result == 1, 10)
        assert handle.learning is learning
        handle.abandon()


def test_a_job_looks_again_soon_while_a_thread_works_for_it_and_seldom_else(panel, tmp_path, monkeypatch):
    from SparseSegModule.jobHandle import POLL_MILLISECONDS, SOON_MILLISECONDS, JobHandle

    launch_with(lambda *_: RecordedStaying(f"{encode('started', protocol=1, version='')}\n".encode()), monkeypatch)
    host, written = Host.instance(), threading.Event()

    def waits(*_):
        written.wait(10)
        return tmp_path / "drawn.nrrd"

    work = _Numbered()
    work.write = waits
    handle = JobHandle(tmp_path, work)
    assert host.wait(lambda: handle._timer.interval == SOON_MILLISECONDS, 10)
    written.set()
    assert host.wait(lambda: handle._job is not None and handle._timer.interval == POLL_MILLISECONDS, 10)
    written.clear()
    handle.updateAnnotation(waits)
    assert host.wait(lambda: handle._timer.interval == SOON_MILLISECONDS, 10)
    written.set()
    assert host.wait(lambda: handle._timer.interval == POLL_MILLISECONDS, 10)
    handle.abandon()


def test_what_is_taken_of_a_drawing_is_taken_once(drawn, monkeypatch):
    """A click on Densify holds the panel as long as that takes."""
    from SparseSegModule import densifier

    panel, _phantom, _volume_node = drawn
    monkeypatch.setattr(densifier, "takeDrawing", lambda *_: pytest.fail("taken again"))
    panel.ui.densifyButton.click()
    assert panel.session.rounds.learner.learns


def test_what_is_on_display_is_predicted_first_and_anew_when_the_user_scrolls(drawn, monkeypatch):
    from SparseSegModule.views import shownPlane, sliceNodes

    panel, _phantom, volume_node = drawn
    rounds, told = panel.session.rounds, []
    (view, *_others) = sliceNodes()
    index = shownPlane(view, volume_node).index
    look = Job.look
    monkeypatch.setattr(Job, "look", lambda job, planes: told.append(list(planes)) or look(job, planes))
    panel.ui.densifyButton.click()  # a cold start
    assert Host.instance().wait(lambda: told, 20)
    shown = [shownPlane(one, volume_node) for one in sliceNodes()]
    assert told == [[(plane.axis, plane.index) for plane in shown]]
    progress = {"step": 1, "fraction": 0.1, "loss": None, "seconds_left": None}
    rounds.onProgress(progress)
    assert len(told) == 1
    view.SetSliceOffset(view.GetSliceOffset() + 2 * volume_node.GetSpacing()[2 - shown[0].axis])
    rounds.onProgress(progress)
    rounds.onProgress(progress)
    assert len(told) == 2
    assert abs(told[1][0][1] - index) == 2
    assert told[1][1:] == told[0][1:]
    _wait_for_round(panel)


def test_the_time_for_the_result_is_told_beside_what_is_left(panel):
    rounds = panel.session.rounds
    progress = {"step": 1, "fraction": 0.1, "loss": None, "seconds_left": 99.6}
    rounds.onProgress(progress)
    assert rounds.text == "100 s left"
    rounds.onProgress({**progress, "result_seconds": 40.2})
    assert rounds.text == "100 s left, 40 s of it for the result"
