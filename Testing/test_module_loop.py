"""Correct in place: take over, edit, confirm, undo, scribble; what is learned from, and what is shown."""

import numpy as np
import pytest
import slicer
from host import Host
from module_helpers import add_phantom, middle, paint, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.annotation import UNLABELED, Plane


@pytest.fixture
def shown(panel):
    """A panel that shows a prediction, shifted by two voxels, after one slice was drawn."""
    phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    panel.parameterNode.inputVolume = volume_node
    Host.instance().processEvents(0.05)
    segmentation_node = panel.parameterNode.segmentation
    paint_plane(segmentation_node, volume_node, phantom.labels, middle(phantom.labels, 0))
    panel.parts[1].enter()
    predicted = np.roll(phantom.labels, 2, axis=2)
    view = panel.session.view
    view.begin(volume_node, segmentation_node)
    view.showPreview(predicted, phantom.volume.geometry)
    return panel, phantom, predicted, volume_node, segmentation_node


def _interactor(volume_node, plane):
    """The mouse in the view that shows a slice, which is jumped to."""
    from SparseSegModule.views import jumpTo

    view, manager = jumpTo(volume_node, plane), slicer.app.layoutManager()
    widgets = [manager.sliceWidget(name) for name in manager.sliceViewNames()]
    return next(widget for widget in widgets if widget.mrmlSliceNode() is view).interactor()


def _press(volume_node, plane, *, shift=False):
    """Press the mouse on a slice that a view shows."""
    interactor = _interactor(volume_node, plane)
    interactor.SetShiftKey(shift)
    interactor.InvokeEvent("LeftButtonPressEvent")
    return interactor


def _stroke(panel, volume_node, segmentation_node, plane, mask, tool="Paint"):
    """A whole stroke of a tool of the Segment Editor on a slice: press, undo state, change."""
    from SparseSegModule.volumes import ijkToRas

    editor = panel.ui.segmentEditorWidget
    editor.setActiveEffectByName(tool)
    interactor = _press(volume_node, plane)
    Host.instance().processEvents(0.02)
    editor.saveStateForUndo()
    where = np.zeros(volume_node.GetImageData().GetDimensions()[::-1], np.uint8)
    where[plane.voxels] = mask
    segment_id = segmentation_node.GetSegmentation().GetNthSegmentID(0)
    paint(segmentation_node, segment_id, where, ijkToRas(volume_node), erase=tool == "Erase")
    interactor.InvokeEvent("LeftButtonReleaseEvent")
    Host.instance().processEvents(0.05)


def _drawn(segmentation_node, volume_node, shape):
    from SparseSegModule.segmentLabels import classLabels

    return classLabels(segmentation_node, volume_node).whole(shape)


def _shown(panel, volume_node, shape):
    return _drawn(panel.session.view.shownNode(), volume_node, shape)


def _corner(mask):
    """A part of an object's mask, and what is left without it."""
    session = np.zeros(mask.shape, np.uint8)
    places = np.argwhere(mask)
    session[tuple(places[: len(places) // 3].T)] = 1
    return session


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_erasing_on_a_predicted_slice_corrects_it_where_it_stands(shown, axis):
    panel, phantom, predicted, volume_node, segmentation_node = shown
    first, shape = middle(phantom.labels, 0), phantom.labels.shape
    plane = middle(predicted, axis, 0.3)
    leak = _corner(predicted[plane.voxels])
    _stroke(panel, volume_node, segmentation_node, plane, leak, "Erase")
    corrected = predicted[plane.voxels] * (1 - leak)
    if axis != 0:  # the line that the slice drawn first has on it
        line = first.index
        corrected[line] = np.where(leak[line], 0, phantom.labels[plane.voxels][line])
    np.testing.assert_array_equal(_drawn(segmentation_node, volume_node, shape)[plane.voxels], corrected)
    np.testing.assert_array_equal(_shown(panel, volume_node, shape)[plane.voxels], corrected)
    assert panel.session.planes().edited == plane
    away = [index for index in range(shape[axis]) if index != plane.index]
    rest = np.take(_shown(panel, volume_node, shape), away, axis) == np.take(predicted, away, axis)
    assert rest.mean() > 0.9


def test_a_painted_bit_joins_the_prediction_on_its_slice(shown):
    panel, _phantom, predicted, volume_node, segmentation_node = shown
    plane = middle(predicted, 0, 0.3)
    bit = np.zeros(predicted.shape[1:], np.uint8)
    bit[:2, :2] = 1
    _stroke(panel, volume_node, segmentation_node, plane, bit)
    found = _drawn(segmentation_node, volume_node, predicted.shape)[plane.voxels]
    np.testing.assert_array_equal(found, np.maximum(predicted[plane.voxels], bit))


def test_nothing_is_learned_from_a_slice_that_is_being_edited_until_it_is_confirmed(shown):
    panel, phantom, predicted, volume_node, segmentation_node = shown
    session, first, plane = panel.session, middle(phantom.labels, 0), middle(predicted, 0, 0.3)
    bit = np.zeros(predicted.shape[1:], np.uint8)
    bit[0, 0] = 1
    _stroke(panel, volume_node, segmentation_node, plane, bit)
    labels = session.loop.drawing().sparseLabels()
    assert labels.planes == (first,)
    assert (labels.array[plane.voxels] == UNLABELED).all()
    assert panel.ui.planeTable.item(0, 3).text() == "being edited"
    panel.ui.confirmButton.click()
    labels = session.loop.drawing().sparseLabels()
    assert set(labels.planes) == {first, plane}
    np.testing.assert_array_equal(labels.array[plane.voxels], np.maximum(predicted[plane.voxels], bit))
    assert session.planes().edited is None
    assert not panel.ui.confirmButton.enabled


def test_what_there_is_to_learn_from_changes_with_confirmations_and_not_with_strokes(shown):
    panel, _phantom, predicted, volume_node, segmentation_node = shown
    session, plane = panel.session, middle(predicted, 0, 0.3)
    session.confirm()
    revision = session.loop.revision
    bit = np.zeros(predicted.shape[1:], np.uint8)
    bit[0, 0] = 1
    _stroke(panel, volume_node, segmentation_node, plane, bit)
    _stroke(panel, volume_node, segmentation_node, plane, np.roll(bit, 3))
    assert session.loop.revision == revision
    panel.ui.confirmButton.click()
    confirmed = session.loop.revision
    assert confirmed > revision
    _stroke(panel, volume_node, segmentation_node, plane, np.roll(bit, 5))  # it is not learned from any more
    assert session.loop.revision > confirmed


def test_drawing_on_another_slice_confirms_and_scrolling_does_not(shown):
    panel, _phantom, predicted, volume_node, segmentation_node = shown
    session, plane, other = panel.session, middle(predicted, 0, 0.3), middle(predicted, 0, 0.7)
    bit = np.zeros(predicted.shape[1:], np.uint8)
    bit[0, 0] = 1
    _stroke(panel, volume_node, segmentation_node, plane, bit)
    session.jump(other)
    Host.instance().processEvents(0.05)
    assert session.planes().edited == plane
    _stroke(panel, volume_node, segmentation_node, other, bit)
    assert session.planes().edited == other
    assert plane in session.loop.drawing().sparseLabels().planes


def test_undo_takes_back_stroke_take_over_and_confirmation(shown):
    panel, _phantom, predicted, volume_node, segmentation_node = shown
    session, editor, shape = panel.session, panel.ui.segmentEditorWidget, predicted.shape
    session.confirm()
    plane = middle(predicted, 0, 0.3)
    before = _drawn(segmentation_node, volume_node, shape)
    bit = np.zeros(shape[1:], np.uint8)
    bit[0, 0] = 1

    def back():
        editor.undo()
        Host.instance().processEvents(0.05)
        return _drawn(segmentation_node, volume_node, shape)[plane.voxels], session.planes()

    _stroke(panel, volume_node, segmentation_node, plane, bit)
    session.confirm()
    there, table = back()
    assert there[0, 0] == 1
    assert table.edited == plane
    there, table = back()
    np.testing.assert_array_equal(there, predicted[plane.voxels])
    assert table.edited == plane
    there, table = back()
    np.testing.assert_array_equal(there, before[plane.voxels])
    assert table.find(0, plane.index) is None
    editor.redo()
    Host.instance().processEvents(0.05)
    assert session.planes().edited == plane


def test_a_slice_is_taken_over_by_the_button_and_stays_as_it_is_in_later_previews(shown):
    panel, phantom, predicted, volume_node, segmentation_node = shown
    session, plane = panel.session, middle(predicted, 1, 0.3)
    _interactor(volume_node, plane).InvokeEvent("EnterEvent")
    assert panel.ui.takeOverButton.enabled
    panel.ui.takeOverButton.click()
    assert session.planes().edited == plane
    taken = _drawn(segmentation_node, volume_node, predicted.shape)[plane.voxels]
    panel.session.view.showPreview(np.roll(predicted, 3, axis=0), phantom.volume.geometry)
    np.testing.assert_array_equal(_shown(panel, volume_node, predicted.shape)[plane.voxels], taken)


def test_a_preview_of_the_slices_on_display_changes_these_and_can_be_corrected(shown):
    panel, phantom, predicted, volume_node, _segmentation_node = shown
    view, plane = panel.session.view, middle(predicted, 0, 0.3)
    better = np.full(predicted.shape, UNLABELED, np.uint8)
    better[plane.voxels] = np.roll(predicted[plane.voxels], 4, axis=0)
    view.showPreview(better, phantom.volume.geometry)
    found = _shown(panel, volume_node, predicted.shape)
    np.testing.assert_array_equal(found[plane.voxels], better[plane.voxels])
    np.testing.assert_array_equal(found[plane.index + 1], predicted[plane.index + 1])
    np.testing.assert_array_equal(panel.session.loop.predictedOn(plane), better[plane.voxels])


def test_a_preview_of_some_slices_of_the_region_leaves_the_last_result_on_all_others(shown):
    """The region is a part of the volume, and a result is of all of it."""
    panel, phantom, predicted, volume_node, _segmentation_node = shown
    geometry, plane = phantom.volume.geometry, middle(predicted, 0, 0.3)
    box = tuple(slice(1, size - 1) for size in predicted.shape)
    better = np.full(predicted.shape, UNLABELED, np.uint8)
    better[plane.voxels] = np.roll(predicted[plane.voxels], 4, axis=0)
    panel.session.view.showPreview(better[box], geometry.crop(box))
    expected = predicted.copy()
    expected[plane.voxels] = better[plane.voxels]
    (drawn,) = panel.session.planes().finished
    expected[drawn.voxels] = phantom.labels[drawn.voxels]
    np.testing.assert_array_equal(_shown(panel, volume_node, predicted.shape)[box], expected[box])


def test_hidden_and_locked_segments_are_not_taken_over(panel):
    phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    panel.parameterNode.inputVolume = volume_node
    node = panel.parameterNode.segmentation
    segmentation = node.GetSegmentation()
    for name in ("hidden", "locked"):
        segmentation.AddEmptySegment(name, name)
    node.GetDisplayNode().SetSegmentVisibility("hidden", False)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(segmentation.GetSegment("locked"), logic.Completed)
    Host.instance().processEvents(0.05)
    predicted = np.zeros(phantom.labels.shape, np.uint8)
    predicted[5, 2:4], predicted[5, 4:6], predicted[5, 6:8] = 1, 2, 3
    view = panel.session.view
    view.begin(volume_node, node)
    view.showPreview(predicted, phantom.volume.geometry)
    assert panel.session.loop.takeOver(Plane(0, 5))
    np.testing.assert_array_equal(_drawn(node, volume_node, predicted.shape)[5], predicted[5] * (predicted[5] == 1))


def test_a_press_with_a_modifier_or_without_a_drawing_tool_takes_nothing_over(shown):
    panel, _, predicted, volume_node, _ = shown
    plane = middle(predicted, 0, 0.3)
    panel.ui.segmentEditorWidget.setActiveEffectByName("Paint")
    _press(volume_node, plane, shift=True)
    for tool in ("Threshold", ""):
        panel.ui.segmentEditorWidget.setActiveEffectByName(tool)
        _press(volume_node, plane)
    assert panel.session.planes().find(0, plane.index) is None


def test_a_scribble_labels_its_own_voxels_and_takes_nothing_over(shown):
    panel, _phantom, predicted, volume_node, segmentation_node = shown
    panel.ui.scribbleButton.click()
    plane = middle(predicted, 0, 0.3)
    bit = np.zeros(predicted.shape[1:], np.uint8)
    bit[0, :3] = 1
    _stroke(panel, volume_node, segmentation_node, plane, bit)
    session = panel.session
    assert session.planes().find(0, plane.index) is None
    session.confirm()
    labels = session.loop.drawing().sparseLabels()
    there = labels.array[plane.voxels]
    np.testing.assert_array_equal(there == 1, bit == 1)
    assert (there[bit == 0] == UNLABELED).all()


@pytest.mark.parametrize("learn", [False, True])
def test_what_fills_a_volume_is_annotation_only_if_the_user_says_so(shown, learn):
    from SparseSegModule.volumes import ijkToRas

    panel, phantom, predicted, volume_node, segmentation_node = shown
    session, host = panel.session, Host.instance()
    session.confirm()
    panel.ui.segmentEditorWidget.setActiveEffectByName("Threshold")
    host.answers.append(learn)
    ball = np.zeros(predicted.shape, np.uint8)
    ball[2:5, 3:7, 3:7] = 1
    segment_id = segmentation_node.GetSegmentation().GetNthSegmentID(0)
    paint(segmentation_node, segment_id, ball, ijkToRas(volume_node))
    host.processEvents(0.05)
    assert "learn from them" in host.dialogs[-1][1]
    labels, plane = session.loop.drawing().sparseLabels(), middle(phantom.labels, 0)
    assert (labels.array[ball == 1] == (1 if learn else UNLABELED)).all()
    np.testing.assert_array_equal(labels.array[plane.voxels], phantom.labels[plane.voxels])


def test_a_later_stroke_across_a_confirmed_slice_wins_and_the_table_says_so(shown):
    panel, phantom, predicted, volume_node, segmentation_node = shown
    first, plane = middle(phantom.labels, 0), middle(predicted, 1, 0.5)
    line = np.zeros(predicted[plane.voxels].shape, np.uint8)
    line[first.index, :3] = 1
    line[first.index + 1, :3] = 1
    _stroke(panel, volume_node, segmentation_node, plane, line)
    panel.ui.confirmButton.click()
    labels = panel.session.loop.drawing().sparseLabels()
    assert (labels.array[first.index, plane.index, :3] == 1).all()
    states = {panel.ui.planeTable.item(row, 1).text(): panel.ui.planeTable.item(row, 3).text() for row in range(2)}
    assert states["Axial"].startswith("changed on Coronal")
    assert states["Coronal"] == ""


@pytest.fixture
def whole_readings(monkeypatch):
    """The readings of all that is drawn on the volume, rather than of one slice."""
    from SparseSegModule import drawnLabels

    readings, read = [], drawnLabels.classLabels
    monkeypatch.setattr(drawnLabels, "classLabels", lambda *nodes: readings.append(nodes) or read(*nodes))
    return readings


@pytest.mark.parametrize("tool", ["Paint", "Erase", "Scissors"])
def test_a_stroke_and_its_take_over_read_one_slice(shown, whole_readings, tool):
    panel, _phantom, predicted, volume_node, segmentation_node = shown
    plane = middle(predicted, 0, 0.3)
    _stroke(panel, volume_node, segmentation_node, plane, _corner(predicted[plane.voxels]), tool)
    assert panel.session.planes().edited == plane
    panel.ui.confirmButton.click()
    Host.instance().processEvents(0.05)
    segmentation_node.GetSegmentation().GetNthSegment(0).SetName("another name")
    Host.instance().processEvents(0.05)
    assert whole_readings == []


def _off_plane(panel, volume_node, segmentation_node, plane, other, tool):
    """A stroke for which the mouse is pressed on ``plane``, and which changes the slice ``other``."""
    editor = panel.ui.segmentEditorWidget
    editor.setActiveEffectByName(tool)
    interactor = _press(volume_node, plane)
    paint_plane(segmentation_node, volume_node, np.ones_like(panel.session.loop.labels), other)
    interactor.InvokeEvent("LeftButtonReleaseEvent")
    Host.instance().processEvents(0.05)


@pytest.mark.parametrize(("mode", "depth"), [("Unlimited", "0"), ("Symmetric", "20")])
def test_scissors_that_cut_several_slices_are_followed_on_all_of_them(shown, mode, depth):
    panel, _phantom, predicted, volume_node, segmentation_node = shown
    node = panel.ui.segmentEditorWidget.mrmlSegmentEditorNode()
    node.SetAttribute("Scissors.SliceCutMode", mode)
    node.SetAttribute("Scissors.SliceCutDepthMm", depth)
    plane, other = middle(predicted, 0, 0.3), middle(predicted, 0, 0.4)
    _off_plane(panel, volume_node, segmentation_node, plane, other, "Scissors")
    assert panel.session.loop.labels[other.voxels].all()
    assert panel.session.planes().find(plane.axis, plane.index) is None


def test_what_another_tool_does_after_a_press_with_draw_is_seen_everywhere(panel):
    phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    panel.parameterNode.inputVolume = volume_node
    Host.instance().processEvents(0.05)
    panel.parts[1].enter()
    editor, node = panel.ui.segmentEditorWidget, panel.parameterNode.segmentation
    editor.setActiveEffectByName("Draw")
    _press(volume_node, Plane(0, 1)).InvokeEvent("LeftButtonReleaseEvent")
    editor.setActiveEffectByName("Islands")
    paint_plane(node, volume_node, phantom.labels, middle(phantom.labels, 0))
    assert panel.session.planes().finished == (middle(phantom.labels, 0),)


def _memory(segmentation_node):
    """Where the labelmap of the first segment lies, and of which extent it is."""
    from vtk.util.numpy_support import vtk_to_numpy

    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segmentation_node.GetSegmentation().GetNthSegment(0).GetRepresentation(name)
    return vtk_to_numpy(image.GetPointData().GetScalars()).ctypes.data, image.GetExtent()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_changes_in_place_and_the_labelmap_is_not_copied(panel, axis):
    from SparseSegModule.segmentChanges import changeSlice
    from SparseSegModule.volumes import ijkToRas

    _phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    panel.parameterNode.inputVolume = volume_node
    node, shape = panel.parameterNode.segmentation, volume_node.GetImageData().GetDimensions()[::-1]
    segment_id, block = node.GetSegmentation().GetNthSegmentID(0), np.zeros(shape, np.uint8)
    block[2:-2, 2:-2, 2:-2] = 1
    paint(node, segment_id, block, ijkToRas(volume_node))
    before, plane = _memory(node), Plane(axis, 5)
    piece = np.zeros_like(block)
    piece[plane.voxels][4:6, 3:8] = 1
    for erase, expected in ((True, block - piece), (False, block)):
        changeSlice(node, volume_node, plane, {segment_id: piece[plane.voxels] > 0}, erase=erase)
        np.testing.assert_array_equal(_drawn(node, volume_node, shape), expected)
        assert _memory(node) == before
