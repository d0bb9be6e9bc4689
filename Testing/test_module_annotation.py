"""The annotated slices follow the hand: strokes, brushes, erasing, background, oblique views, applied results."""

import numpy as np
import pytest
import qt_states
import slicer
from host import Host
from module_helpers import add_phantom, middle, moved, paint, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.errors import AnnotationError
from SparseSegLib.image import slice_place
from SparseSegLib.units import offset_text


@pytest.fixture
def drawn(panel):
    """A panel with a phantom: the panel, the phantom, its volume node, the segmentation and the first segment's ID."""
    phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    panel.parameterNode.inputVolume = volume_node
    Host.instance().processEvents(0.05)
    segmentation_node = panel.parameterNode.segmentation
    return panel, phantom, volume_node, segmentation_node, segmentation_node.GetSegmentation().GetNthSegmentID(0)


def _table(panel):
    return panel.session.planes()


def _stroke(segmentation_node, segment_id, volume_node, mask, **how) -> None:
    from SparseSegModule.volumes import ijkToRas

    paint(segmentation_node, segment_id, mask.astype(np.uint8), ijkToRas(volume_node), **how)
    Host.instance().processEvents(0.05)


def _labels(panel):
    labels = panel.session.loop.drawn()
    labels.validate()
    return labels


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_stroke_on_one_slice_makes_it_an_annotated_one(drawn, axis):
    panel, phantom, volume_node, segmentation_node, _ = drawn
    plane = middle(phantom.labels, axis)
    paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    assert _table(panel).finished == (plane,)
    labels = _labels(panel)
    assert labels.planes == (plane,)
    np.testing.assert_array_equal(labels.array[plane.voxels], phantom.labels[plane.voxels])
    assert (np.delete(labels.array, plane.index, axis) == UNLABELED).all()


def test_a_stroke_is_one_change_whether_its_slice_is_new_or_not(drawn):
    panel, phantom, volume_node, segmentation_node, segment_id = drawn
    session, changes = panel.session, []
    session.rounds.annotationChanged = lambda: changes.append(session.planes().finished)
    plane = middle(phantom.labels, 0)
    paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    assert changes == [(plane,)]
    corner = np.zeros(phantom.labels.shape, bool)
    corner[plane.index, :2, :2] = True
    _stroke(segmentation_node, segment_id, volume_node, corner)
    assert changes == [(plane,), (plane,)]


def test_a_brush_in_3d_makes_none_and_its_voxels_are_scribbles(drawn):
    panel, phantom, volume_node, segmentation_node, segment_id = drawn
    ball = np.zeros(phantom.labels.shape, bool)
    ball[8:12, 14:18, 18:22] = True
    _stroke(segmentation_node, segment_id, volume_node, ball)
    assert _table(panel).planes == ()
    with pytest.raises(AnnotationError, match="no background"):
        _labels(panel)
    paint_plane(segmentation_node, volume_node, phantom.labels, middle(phantom.labels, 0, 0.1))
    labels = _labels(panel)
    assert (labels.array[ball] == 1).all()
    assert labels.scribbles.sum() == ball.sum()


def test_erasing_everything_on_a_slice_takes_it_back_unless_the_user_declared_it(drawn):
    panel, phantom, volume_node, segmentation_node, segment_id = drawn
    plane = middle(phantom.labels, 0)
    paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    mask = np.zeros(phantom.labels.shape, bool)
    mask[plane.voxels] = phantom.labels[plane.voxels]
    _stroke(segmentation_node, segment_id, volume_node, mask, erase=True)
    assert _table(panel).planes == ()
    paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    tick = panel.ui.planeTable.item(0, 0)
    tick.setCheckState(qt_states.unchecked())
    Host.instance().processEvents()
    assert _table(panel).finished == ()
    _stroke(segmentation_node, segment_id, volume_node, mask, erase=True)
    assert [(entry.plane, entry.declared) for entry in _table(panel).planes] == [(plane, True)]


def test_undoing_a_stroke_takes_its_slice_back(drawn):
    panel, phantom, volume_node, segmentation_node, _ = drawn
    first, second = middle(phantom.labels, 0), middle(phantom.labels, 1)
    paint_plane(segmentation_node, volume_node, phantom.labels, first)
    panel.ui.segmentEditorWidget.saveStateForUndo()
    paint_plane(segmentation_node, volume_node, phantom.labels, second)
    assert set(_table(panel).finished) == {first, second}
    panel.ui.segmentEditorWidget.undo()
    Host.instance().processEvents(0.05)
    assert _table(panel).finished == (first,)
    paint_plane(segmentation_node, volume_node, phantom.labels, middle(phantom.labels, 2))
    assert set(_table(panel).finished) == {first, middle(phantom.labels, 2)}


def test_an_unfinished_slice_is_scribbles_and_a_removed_one_is_empty(drawn):
    panel, phantom, volume_node, segmentation_node, _ = drawn
    first, second = middle(phantom.labels, 0), middle(phantom.labels, 1)
    paint_plane(segmentation_node, volume_node, phantom.labels, first)
    paint_plane(segmentation_node, volume_node, phantom.labels, second)
    panel.ui.planeTable.item(0, 0).setCheckState(qt_states.unchecked())
    Host.instance().processEvents()
    labels = _labels(panel)
    assert labels.planes == (second,)
    assert set(np.unique(labels.array[first.voxels])) == {0, 1, UNLABELED}
    panel.ui.planeTable.setCurrentCell(0, 1)
    panel.ui.removePlaneButton.click()
    Host.instance().processEvents()
    assert [entry.plane for entry in _table(panel).planes] == [second]
    labels = _labels(panel)
    np.testing.assert_array_equal(labels.array[second.voxels], phantom.labels[second.voxels])
    assert (np.delete(labels.array, second.index, 1) == UNLABELED).all()
    panel.ui.segmentEditorWidget.undo()
    Host.instance().processEvents(0.05)
    assert [entry.plane for entry in _table(panel).planes] == [first, second]
    np.testing.assert_array_equal(_labels(panel).array[first.voxels] == 1, phantom.labels[first.voxels] == 1)


def test_strokes_of_a_background_segment_are_background(drawn):
    panel, phantom, volume_node, segmentation_node, _ = drawn
    paint_plane(segmentation_node, volume_node, phantom.labels, middle(phantom.labels, 0))
    background = segmentation_node.GetSegmentation().AddEmptySegment("", "Background")
    stroke = np.zeros(phantom.labels.shape, bool)
    stroke[1, 2:4, 3:9] = True
    _stroke(segmentation_node, background, volume_node, stroke)
    labels = _labels(panel)
    assert (labels.array[stroke] == 0).all()
    assert labels.names == ("object",)
    assert len(_table(panel).planes) == 1


def test_a_stroke_on_an_oblique_view_annotates_that_plane(drawn):
    panel, phantom, volume_node, segmentation_node, segment_id = drawn
    geometry = phantom.volume.geometry
    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    center = geometry.index_to_physical((np.array(geometry.shape) - 1) / 2) * [-1, -1, 1]
    view.SetSliceToRASByNTP(0.0, 0.6, 0.8, 1, 0, 0, *center, 0)
    from SparseSegModule.views import viewPlanes

    pose = viewPlanes(volume_node)[slicer.app.layoutManager().sliceViewNames().index("Red")]
    _stroke(segmentation_node, segment_id, volume_node, pose.mask(geometry) & (phantom.labels > 0))
    assert _table(panel).planes == ()
    (kept,) = _table(panel).oblique
    np.testing.assert_allclose(np.abs(np.dot(kept.normal, pose.normal)), 1, atol=1e-6)
    labels = _labels(panel)
    np.testing.assert_array_equal(labels.array != UNLABELED, pose.mask(geometry))


def test_an_oblique_plane_has_a_row_to_jump_to_it_and_to_remove_it(drawn):
    from SparseSegModule.views import viewPlanes

    panel, phantom, volume_node, segmentation_node, segment_id = drawn
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(moved(50))
    for node in (volume_node, segmentation_node):
        node.SetAndObserveTransformNodeID(transform.GetID())
    geometry, ui = phantom.volume.geometry, panel.ui
    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    center = geometry.index_to_physical((np.array(geometry.shape) - 1) / 2) * [-1, -1, 1] + [50, 0, 0]
    view.SetSliceToRASByNTP(0.0, 0.6, 0.8, 1, 0, 0, *center, 0)
    pose = viewPlanes(volume_node)[slicer.app.layoutManager().sliceViewNames().index("Red")]
    _stroke(segmentation_node, segment_id, volume_node, pose.mask(geometry) & (phantom.labels > 0))
    assert ui.planeTable.rowCount == 1
    assert ui.planeTable.item(0, 1).text() == "Oblique"
    offset = np.dot([0.0, 0.6, 0.8], center)
    assert ui.planeTable.item(0, 2).text() == f"{offset_text(offset)}, 37° off axial"
    view.SetOrientation("Axial")
    view.JumpSliceByOffsetting(0, 0, 1000)
    ui.planeTable.setCurrentCell(0, 0)
    ui.jumpButton.click()
    assert any(
        np.allclose(np.dot(shown.normal, pose.normal), 1, atol=1e-5)
        and abs(np.dot(np.subtract(shown.point, pose.point), pose.normal)) < 1e-3
        for shown in viewPlanes(volume_node)
    )
    ui.removePlaneButton.click()
    assert ui.planeTable.rowCount == 0
    assert _table(panel).oblique == ()
    assert not ui.jumpButton.enabled


def test_after_apply_only_new_strokes_count(drawn):
    from SparseSegModule.loop import APPLIED_ROLE
    from SparseSegModule.segmentChanges import applyLabels
    from SparseSegModule.segments import SegmentStyle, classSegmentIds
    from SparseSegModule.volumes import addLabelmapNode, ijkToRas, imageFromArray

    panel, phantom, volume_node, segmentation_node, segment_id = drawn
    plane = middle(phantom.labels, 0)
    paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    style = SegmentStyle("object", (1.0, 0.0, 0.0))
    dense = np.roll(phantom.labels, 1, axis=2)
    dense[plane.voxels] = phantom.labels[plane.voxels]
    node = addLabelmapNode(imageFromArray(dense), phantom.volume.geometry, "dense", (style.name,), [style.color])
    applyLabels(
        segmentation_node,
        volume_node,
        dense,
        ijkToRas(volume_node),
        dict(enumerate(classSegmentIds(segmentation_node), start=1)),
    )
    segmentation_node.SetNodeReferenceID(APPLIED_ROLE, node.GetID())
    panel.session.ignoreChange()
    panel.session.loop.ignoreChange()
    Host.instance().processEvents(0.05)
    assert _table(panel).finished == (plane,)
    assert not _labels(panel).strokes.any()
    corrected = np.zeros(dense.shape, bool)
    corrected[2:4, 2:4, 2:5] = True
    _stroke(segmentation_node, segment_id, volume_node, corrected)
    np.testing.assert_array_equal(_labels(panel).strokes, corrected)
    erased = np.zeros(dense.shape, bool)
    erased[8:10, 15:17, 18:20] = True
    assert (dense[erased] == 1).all()
    _stroke(segmentation_node, segment_id, volume_node, erased, erase=True)
    labels = _labels(panel)
    there = erased.copy()
    there[plane.voxels] = False
    assert (labels.array[there] == 0).all()


def test_after_apply_is_undone_the_annotation_is_what_it_was(drawn):
    from SparseSegModule.loop import APPLIED_ROLE
    from SparseSegModule.segmentChanges import applyLabels
    from SparseSegModule.segments import classSegmentIds
    from SparseSegModule.volumes import addLabelmapNode, ijkToRas, imageFromArray

    panel, phantom, volume_node, segmentation_node, _ = drawn
    for axis in range(3):
        paint_plane(segmentation_node, volume_node, phantom.labels, middle(phantom.labels, axis))
    before = _labels(panel)
    node = addLabelmapNode(imageFromArray(phantom.labels), phantom.volume.geometry, "dense", ("object",), [(1, 0, 0)])
    panel.ui.segmentEditorWidget.saveStateForUndo()
    segment_ids = dict(enumerate(classSegmentIds(segmentation_node), start=1))
    applyLabels(segmentation_node, volume_node, phantom.labels, ijkToRas(volume_node), segment_ids)
    segmentation_node.SetNodeReferenceID(APPLIED_ROLE, node.GetID())
    panel.session.ignoreChange()
    panel.session.loop.ignoreChange()
    panel.ui.segmentEditorWidget.undo()
    Host.instance().processEvents(0.05)
    after = _labels(panel)
    np.testing.assert_array_equal(after.array, before.array)
    assert after.planes == before.planes


def test_each_volume_has_its_own_drawing_and_its_slices_come_back_with_it(drawn):
    panel, phantom, volume_node, segmentation_node, _ = drawn
    plane = middle(phantom.labels, 0)
    paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    other_phantom, other_volume = add_phantom(name="other")
    panel.parameterNode.inputVolume = other_volume
    Host.instance().processEvents(0.05)
    other = panel.parameterNode.segmentation
    assert other is not segmentation_node
    assert _table(panel).planes == ()
    other_plane = middle(other_phantom.labels, 2)
    paint_plane(other, other_volume, other_phantom.labels, other_plane)
    panel.parameterNode.inputVolume = volume_node
    Host.instance().processEvents(0.05)
    assert panel.parameterNode.segmentation is segmentation_node
    assert _table(panel).finished == (plane,)
    panel.parameterNode.inputVolume = other_volume
    Host.instance().processEvents(0.05)
    assert _table(panel).finished == (other_plane,)


def test_slices_of_a_segmentation_drawn_earlier_are_found_and_the_user_is_asked(drawn):
    panel, phantom, volume_node, segmentation_node, _ = drawn
    planes = {middle(phantom.labels, 0, 0.3), middle(phantom.labels, 0, 0.7), middle(phantom.labels, 2)}
    for plane in planes:
        paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    from SparseSegModule.planes import PlaneTable

    panel.session.loop.setTable(PlaneTable())
    host = Host.instance()
    host.answers.append(False)
    panel.ui.findPlanesButton.click()
    assert _table(panel).planes == ()
    panel.ui.findPlanesButton.click()
    assert set(_table(panel).finished) == planes
    assert "3 slices" in host.dialogs[-1][1]


def test_the_table_says_where_slices_are_and_jumps_there(drawn):
    panel, phantom, volume_node, segmentation_node, _ = drawn
    plane = middle(phantom.labels, 0)
    paint_plane(segmentation_node, volume_node, phantom.labels, plane)
    table = panel.ui.planeTable
    assert [table.item(0, column).text() for column in (1, 4)] == ["Axial", "object"]
    offset = slice_place(phantom.volume.geometry, 0, plane.index)["ras_mm"][2]
    assert table.item(0, 2).text() == f"{round(abs(offset), 2):g} mm {'S' if offset > 0 else 'I'} (slice {plane.index})"
    table.cellDoubleClicked.emit(0, 1)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    assert red.GetSliceOffset() == pytest.approx(offset, abs=1e-3)


def test_positions_are_where_the_slice_views_show_them(drawn):
    from module_helpers import moved
    from SparseSegModule.planeTable import describePlane

    panel, phantom, volume_node, segmentation_node, _ = drawn
    geometry = phantom.volume.geometry
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(moved(100.0))
    for shift in (0.0, 100.0):
        plane = Plane(2, 5)
        right = shift + slice_place(geometry, 2, 5)["ras_mm"][0]
        where = f"{round(abs(right), 2):g} mm {'R' if right >= 0 else 'L'} (slice 5)"
        assert describePlane(plane, geometry, volume_node) == ("Sagittal", where)
        volume_node.SetAndObserveTransformNodeID(transform.GetID())
    panel.session.suggest(plane)
    assert panel.ui.suggestButton.toolTip.endswith(f"Sagittal {where}")
    panel.session.suggest(None)
    assert panel.ui.suggestButton.toolTip == "Press Densify first."
    assert segmentation_node is panel.parameterNode.segmentation


def test_the_table_follows_the_names_of_the_segments(drawn):
    panel, phantom, volume_node, segmentation_node, segment_id = drawn
    paint_plane(segmentation_node, volume_node, phantom.labels, middle(phantom.labels, 0))
    segmentation_node.GetSegmentation().GetSegment(segment_id).SetName("liver")
    Host.instance().processEvents(0.05)
    assert panel.ui.planeTable.item(0, 4).text() == "liver"


@pytest.mark.parametrize("name", ["oblique", "flipped"])
def test_the_suggested_slice_is_shown_in_the_view_that_looks_at_it(panel, name):
    from SparseSegModule.views import jumpTo

    phantom, volume_node = add_phantom(GEOMETRIES[name])
    panel.parameterNode.inputVolume = volume_node
    geometry = phantom.volume.geometry
    for axis in range(3):
        plane = Plane(axis, 5)
        view = jumpTo(volume_node, plane)
        matrix = np.array([[view.GetSliceToRAS().GetElement(row, column) for column in range(4)] for row in range(4)])
        index = np.full(3, 9.0)
        index[axis] = 5
        point = geometry.index_to_physical(index) * [-1, -1, 1]
        assert abs((point - matrix[:3, 3]) @ matrix[:3, 2]) < 1e-3
