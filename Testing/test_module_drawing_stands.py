"""What the user drew stays as it was drawn, whatever is densified and applied; and what a job says and delivers."""

import numpy as np
import pytest
import qt_states
import slicer
from host import Host
from module_helpers import add_phantom, middle, paint, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.annotation import UNLABELED


@pytest.fixture
def drawn(panel):
    """A panel with a phantom that is outlined on a slice of each orientation."""
    phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    node = panel.parameterNode
    node.inputVolume = volume_node
    for axis in range(3):
        paint_plane(node.segmentation, volume_node, phantom.labels, middle(phantom.labels, axis))
    return panel, phantom, volume_node, node.segmentation


@pytest.fixture
def started(panel, monkeypatch):
    """The works of jobs that were to start; none does."""
    works = []
    monkeypatch.setattr(panel.logic.jobRunner, "start", lambda work, listener, learning: works.append(work))
    return works


def _show_result(panel, labels, volume_node):
    """Have the panel show a result, as after a densification."""
    from SparseSegModule.densifyWork import DenseResult
    from SparseSegModule.results import addSegmentation, describe
    from SparseSegModule.segmentChanges import setLabels
    from SparseSegModule.segments import editableStyles
    from SparseSegModule.volumes import addUncertaintyNode, ijkToRas, imageFromArray, volumeGeometry

    view, drawing = panel.session.view, panel.parameterNode.segmentation
    view.begin(volume_node, drawing)
    result = addSegmentation(volume_node, "result")
    setLabels(result, labels, ijkToRas(volume_node), editableStyles(drawing))
    unsure = addUncertaintyNode(imageFromArray(0.0 * labels), volumeGeometry(volume_node), "unsure")
    for node in (result, unsure):
        describe(node, volume_node, {"preset": "fast"})
    view.end(DenseResult(None, result, unsure, None, None, 1.0, 1))


def _stroke(segmentation_node, segment_id, volume_node, mask, **how) -> None:
    from SparseSegModule.volumes import ijkToRas

    paint(segmentation_node, segment_id, mask.astype(np.uint8), ijkToRas(volume_node), **how)
    Host.instance().processEvents(0.05)


def _now(segmentation_node, volume_node, shape):
    from SparseSegModule.segmentLabels import classLabels

    return classLabels(segmentation_node, volume_node).whole(shape)


def _oblique_stroke(volume_node, phantom):
    """A stroke on an oblique plane that the red view shows from now on, as a mask; and the plane's whole mask."""
    from SparseSegModule.views import viewPlanes

    geometry = phantom.volume.geometry
    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    center = geometry.index_to_physical((np.array(geometry.shape) - 1) / 2) * [-1, -1, 1]
    view.SetSliceToRASByNTP(0.0, 0.6, 0.8, 1, 0, 0, *center, 0)
    pose = viewPlanes(volume_node)[slicer.app.layoutManager().sliceViewNames().index("Red")]
    plane = pose.mask(geometry)
    stroke = plane.copy()
    stroke[:, :, :12] = False
    return stroke, plane


def test_scribbles_oblique_planes_and_background_drawn_after_the_result_stand(drawn):
    panel, phantom, volume_node, segmentation_node = drawn
    segmentation, shape = segmentation_node.GetSegmentation(), phantom.labels.shape
    segment_id, background = segmentation.GetNthSegmentID(0), segmentation.AddEmptySegment("", "background")
    dense = np.ones(shape, np.uint8)  # as wrong as can be
    dense[:, :, :6] = 0
    _show_result(panel, dense, volume_node)
    ball, bar = np.zeros(shape, bool), np.zeros(shape, bool)
    ball[2:4, 2:5, 2:5] = True
    bar[1:3, 20:22, 20:30] = True
    _stroke(segmentation_node, segment_id, volume_node, ball)
    _stroke(segmentation_node, background, volume_node, bar)
    stroke, plane = _oblique_stroke(volume_node, phantom)
    _stroke(segmentation_node, segment_id, volume_node, stroke)
    before = panel.session.loop.drawn()
    assert len(before.oblique) == 1
    panel.ui.applyButton.click()
    found = _now(segmentation_node, volume_node, shape)
    np.testing.assert_array_equal(found[before.labeled], before.array[before.labeled])
    assert (found[ball] == 1).all()
    assert (found[bar & ~plane] == 0).all()
    np.testing.assert_array_equal(found[plane], stroke[plane] | (before.array[plane] == 1))
    np.testing.assert_array_equal(found[~before.labeled], dense[~before.labeled])

    after = panel.session.loop.drawn()  # it is still annotation, and the result is none
    np.testing.assert_array_equal(after.array, before.array)
    _show_result(panel, 1 - dense, volume_node)
    panel.ui.applyButton.click()
    found = _now(segmentation_node, volume_node, shape)
    np.testing.assert_array_equal(found[before.labeled], before.array[before.labeled])


def test_what_was_drawn_in_a_segment_that_the_training_did_not_know_stands(drawn):
    panel, phantom, volume_node, segmentation_node = drawn
    shape = phantom.labels.shape
    _show_result(panel, np.ones(shape, np.uint8), volume_node)
    later = segmentation_node.GetSegmentation().AddEmptySegment("", "later")
    ball = np.zeros(shape, bool)
    ball[2:4, 2:5, 2:5] = True
    _stroke(segmentation_node, later, volume_node, ball)
    panel.ui.applyButton.click()
    np.testing.assert_array_equal(_now(segmentation_node, volume_node, shape) == 2, ball)
    labels = panel.session.loop.drawn()
    assert (labels.array[ball] == 2).all()
    assert (labels.array == UNLABELED).any()


def test_a_result_is_applied_where_everything_drawn_was_erased(drawn):
    panel, phantom, volume_node, segmentation_node = drawn
    shape = phantom.labels.shape
    _show_result(panel, phantom.labels, volume_node)
    segment_id = segmentation_node.GetSegmentation().GetNthSegmentID(0)
    _stroke(segmentation_node, segment_id, volume_node, np.ones(shape, bool), erase=True)
    assert panel.session.planes().planes == ()
    panel.ui.applyButton.click()
    np.testing.assert_array_equal(_now(segmentation_node, volume_node, shape), phantom.labels)


def test_slices_that_the_user_took_as_unfinished_are_not_found_again(drawn, started):
    panel, _phantom, _volume_node, _segmentation_node = drawn
    host = Host.instance()
    for row in range(3):
        panel.ui.planeTable.item(row, 0).setCheckState(qt_states.unchecked())
        host.processEvents(0.05)
    panel.ui.densifyButton.click()
    assert host.dialogs == []
    assert started[0]._drawing.table.finished == ()
    panel.logic.densify(panel.parameterNode.inputVolume, panel.parameterNode.segmentation, wait=False)
    assert started[1]._drawing.table.finished == ()


@pytest.mark.parametrize("agrees", [True, False])
def test_slices_drawn_before_the_panel_knew_them_are_asked_about(drawn, started, agrees):
    from SparseSegModule.planes import PlaneTable

    panel, _phantom, _volume_node, segmentation_node = drawn
    host = Host.instance()
    known = panel.session.planes()
    panel.session.loop.setTable(PlaneTable())
    segmentation_node.SetNodeReferenceID("SparseSeg.planesVolume", None)
    host.answers.append(agrees)
    panel.ui.densifyButton.click()
    assert "3 slices seem to be annotated" in host.dialogs[0][1]
    assert started[0]._drawing.table.finished == (known.finished if agrees else ())


class _Deliverer:
    """A job's work that runs the event loop while it makes nodes."""

    def __init__(self) -> None:
        self.delivered = 0

    def read(self, _folder, _ending):
        return None

    def deliver(self, _results, _ending):
        self.delivered += 1
        Host.instance().processEvents(0.3)  # as loading a file does
        return self.delivered

    def keep(self, _folder):
        """Nothing to keep."""

    write = inputsRead = readPreview = show = keep  # noqa: N815


def test_a_result_is_delivered_once_even_where_that_runs_the_event_loop(panel, tmp_path):
    from SparseSegModule.jobHandle import JobHandle

    (tmp_path / "job").mkdir()
    work = _Deliverer()
    work.checkInputs = lambda: None
    handle = JobHandle(tmp_path / "job", work)
    handle._startWorker = lambda: handle._end({"event": "result", "figures": {}, "files": {}})
    assert Host.instance().wait(lambda: handle.ended, 10)
    Host.instance().processEvents(0.2)
    assert (handle.result, work.delivered) == (1, 1)


def test_the_worker_speaks_of_volumes_by_their_names_and_the_panel_of_its_own_boxes(panel, tmp_path):
    from SparseSegModule.modelWork import ModelCase, SegmentWork
    from SparseSegModule.panelWords import inPanelWords
    from SparseSegModule.volumes import VolumeImage

    from SparseSegLib.errors import ModelError
    from SparseSegLib.io import read_volume

    _phantom, volume_node = add_phantom(name="T2: Doe/J ü")
    cases = [ModelCase("x", [VolumeImage.of(volume_node)]), ModelCase("y", [VolumeImage.of(volume_node)])]
    SegmentWork(cases, None, {}, None).write(tmp_path)
    names = [read_volume(path).name for path in sorted(tmp_path.rglob("*.nrrd"))]
    assert names == ["T2- Doe-J ü"] * 2
    error = ModelError(
        "It does not look like a CT.", "Choose a CT, or have it segmented in spite of warnings (--force)."
    )
    text = inPanelWords(str(error))
    assert "--" not in text
    assert '(the box "Segment in spite of warnings")' in text


def test_names_of_nodes_become_names_of_files_that_every_system_takes(panel):
    from SparseSegModule.names import fileName

    assert fileName("con") != "con"
    assert fileName("a/b:c. ") == "a-b-c-"
    assert fileName(" ") == "image"
    for name in ("日" * 300, "x" * 300):
        assert 0 < len(fileName(name).encode()) <= 120
