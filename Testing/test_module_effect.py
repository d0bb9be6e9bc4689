"""The effect SparseSeg in Slicer's Segment Editor: the same loop as in the panel, on the same session."""

import re

import numpy as np
import pytest
import slicer
from forked import launch_with
from host import Host
from module_helpers import MODULE, add_phantom, middle, paint, paint_plane
from phantoms import GEOMETRIES
from PySide6 import QtGui
from recorded import PlayedBack

from SparseSegLib.annotation import Plane

STEPS = 6


@pytest.fixture
def module(panel):
    """The module SparseSeg, with its panel left."""
    panel.exit()
    slicer.modules.sparseseg.widgetRepresentation()._entered = False
    return panel


@pytest.fixture
def editor(module):
    """Slicer's Segment Editor, open."""
    representation = slicer.modules.segmenteditor.widgetRepresentation()
    representation.enter()
    yield representation.self().editor
    representation.exit()


@pytest.fixture
def edited(module, editor):
    """A phantom in the Segment Editor: the editor, the phantom, its volume and an empty segmentation on it."""
    phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    return editor, phantom, volume_node, _edit(editor, volume_node)


def _edit(editor, volume_node, name="drawn"):
    """Edit a new segmentation of one segment on a volume."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    node.GetSegmentation().AddEmptySegment("", "object")
    editor.setSegmentationNode(node)
    editor.setSourceVolumeNode(volume_node)
    return node


def _face(editor):
    return editor.effectByName("SparseSeg").self()._face


def _choose_effect(editor):
    """Choose the effect; its buttons and labels."""
    editor.setActiveEffectByName("SparseSeg")
    return _face(editor).ui


def _session():
    import SparseSeg

    return SparseSeg.SparseSegLogic.instance().session


def _segmentations():
    return slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")


def _interactor(volume_node, plane):
    """The mouse in the view that shows a slice, which is jumped to."""
    from SparseSegModule.views import jumpTo

    view, manager = jumpTo(volume_node, plane), slicer.app.layoutManager()
    widgets = [manager.sliceWidget(name) for name in manager.sliceViewNames()]
    return next(widget for widget in widgets if widget.mrmlSliceNode() is view).interactor()


def _stroke(editor, volume_node, plane, mask, tool="Paint"):
    """A whole stroke of a tool of the Segment Editor on a slice."""
    from SparseSegModule.volumes import ijkToRas

    editor.setActiveEffectByName(tool)
    interactor = _interactor(volume_node, plane)
    interactor.InvokeEvent("LeftButtonPressEvent")
    Host.instance().processEvents(0.02)
    editor.saveStateForUndo()
    where = np.zeros(volume_node.GetImageData().GetDimensions()[::-1], np.uint8)
    where[plane.voxels] = mask
    node = editor.segmentationNode()
    paint(node, node.GetSegmentation().GetNthSegmentID(0), where, ijkToRas(volume_node), erase=tool == "Erase")
    interactor.InvokeEvent("LeftButtonReleaseEvent")
    Host.instance().processEvents(0.05)


def _labels(segmentation_node, volume_node):
    from SparseSegModule.segmentLabels import classLabels

    return classLabels(segmentation_node, volume_node).whole(volume_node.GetImageData().GetDimensions()[::-1])


def _predict(phantom, volume_node, segmentation_node):
    """Show a prediction, shifted by two voxels."""
    predicted, view = np.roll(phantom.labels, 2, axis=2), _session().view
    view.begin(volume_node, segmentation_node)
    view.showPreview(predicted, phantom.volume.geometry)
    return predicted


def test_the_loop_in_the_segment_editor_from_strokes_to_the_applied_result_and_back(
    module, edited, tmp_path, monkeypatch
):
    editor, phantom, volume_node, node = edited
    start = module.logic.densify
    monkeypatch.setattr(module.logic, "densify", lambda *a, **k: start(*a, **{**k, "budgetSteps": STEPS}))
    host, session, ui = Host.instance(), _session(), _choose_effect(editor)
    assert not ui.suggestButton.enabled
    for axis in range(3):
        plane = middle(phantom.labels, axis)
        _stroke(editor, volume_node, plane, phantom.labels[plane.voxels])
    assert session.planes().edited == plane
    _choose_effect(editor)
    ui.densifyButton.click()
    assert ui.finishButton.enabled and not ui.densifyButton.enabled
    assert host.wait(lambda: session.view.result is not None and not session.rounds.learns, 60)
    assert host.dialogs == []
    assert ui.progressLabel.text.startswith("Done in")
    assert len(session.planes().learned) == 3

    predicted = _labels(session.view.result.segmentationNode, volume_node)
    plane = Plane(0, next(i for i in np.flatnonzero(predicted.any((1, 2))) if i != middle(phantom.labels, 0).index))
    bit = np.zeros(predicted.shape[1:], np.uint8)
    bit[0, 0] = 1
    _stroke(editor, volume_node, plane, bit)
    assert session.planes().edited == plane, "the first stroke takes the prediction over"
    assert _labels(node, volume_node)[plane.voxels].sum() > predicted[plane.voxels].sum()
    _choose_effect(editor)
    assert ui.confirmButton.enabled
    first = session.view.result
    ui.liveCheckBox.click()
    ui.confirmButton.click()
    assert session.planes().edited is None
    assert plane in session.planes().learned
    assert host.wait(lambda: session.view.result is not first and not session.rounds.learns, 60), (
        "live learns by itself"
    )
    again = _labels(session.view.result.segmentationNode, volume_node)
    np.testing.assert_array_equal(again[plane.voxels], _labels(node, volume_node)[plane.voxels])
    ui.liveCheckBox.click()
    if session.suggestion is not None:
        ui.suggestButton.click()

    before = _labels(node, volume_node)
    ui.applyButton.click()
    host.processEvents(0.1)
    assert _labels(node, volume_node).sum() > before.sum()
    assert session.view.result is None and not ui.applyButton.enabled
    editor.undo()
    host.processEvents(0.1)
    np.testing.assert_array_equal(_labels(node, volume_node), before)
    session.rounds.learner.abandon()


def test_the_panel_shows_the_same_result_and_the_same_running_worker(module, edited, tmp_path, monkeypatch):
    editor, phantom, volume_node, node = edited
    launch_with(PlayedBack(tmp_path / "job"), monkeypatch)
    start = module.logic.densify
    monkeypatch.setattr(module.logic, "densify", lambda *a, **k: start(*a, **{**k, "budgetSteps": STEPS}))
    host, ui = Host.instance(), _choose_effect(editor)
    for axis in range(3):
        paint_plane(node, volume_node, phantom.labels, middle(phantom.labels, axis))
    before = _segmentations()
    ui.densifyButton.click()
    handle = _session().rounds.handle
    slicer.modules.segmenteditor.widgetRepresentation().exit()
    slicer.modules.sparseseg.widgetRepresentation().enter()
    assert (module.parameterNode.inputVolume, module.parameterNode.segmentation) == (volume_node, node)
    assert module.ui.segmentEditorWidget.segmentationNode() is node
    assert module.session.rounds.handle is handle
    assert module.ui.finishButton.enabled and module.ui.planeTable.rowCount == 3
    assert host.wait(lambda: module.session.rounds.handle is None, 60)
    assert module.ui.applyButton.enabled
    assert module.session.view.shownNode() is not None
    assert module.ui.progressLabel.text == ui.progressLabel.text != ""
    slicer.modules.sparseseg.widgetRepresentation().exit()
    slicer.modules.segmenteditor.widgetRepresentation().enter()
    assert _choose_effect(editor).applyButton.enabled
    assert _segmentations() == before + 1, "nothing but the result"
    drawn = _labels(node, volume_node)
    ui.discardButton.click()
    assert _session().view.shownNode() is None and not ui.applyButton.enabled
    assert _segmentations() == before
    np.testing.assert_array_equal(_labels(node, volume_node), drawn)


def test_a_stroke_after_the_panel_was_used_is_followed_and_undone_here_again(module, edited):
    editor, phantom, volume_node, node = edited
    _choose_effect(editor)
    predicted, plane = _predict(phantom, volume_node, node), middle(phantom.labels, 1)
    representation = slicer.modules.segmenteditor.widgetRepresentation()
    representation.exit()
    module.enter()
    module.exit()
    representation.enter()
    bit = np.zeros(predicted[plane.voxels].shape, np.uint8)
    _stroke(editor, volume_node, plane, bit)  # nothing but what is taken over
    np.testing.assert_array_equal(_labels(node, volume_node)[plane.voxels], predicted[plane.voxels])
    editor.undo()
    editor.undo()
    Host.instance().processEvents(0.05)
    assert not _labels(node, volume_node).any()


def test_keys_work_with_any_tool_and_not_on_another_segmentation(module, edited):
    editor, phantom, volume_node, node = edited
    _choose_effect(editor)
    plane = middle(phantom.labels, 0)
    _stroke(editor, volume_node, plane, phantom.labels[plane.voxels])
    keys = {each.key.toString(): each for each in editor.findChildren(QtGui.QShortcut)}
    assert set(keys) >= {"O", "C", "N"}
    assert len(keys) == len(editor.findChildren(QtGui.QShortcut))
    _edit(editor, volume_node, "other")
    keys["C"].activated.emit()
    assert _session().planes().edited == plane
    editor.setSegmentationNode(node)
    keys["C"].activated.emit()
    assert _session().planes().edited is None


def test_a_press_in_another_segmentation_takes_nothing_over(module, edited):
    editor, phantom, volume_node, node = edited
    _choose_effect(editor)
    predicted, plane = _predict(phantom, volume_node, node), middle(phantom.labels, 0)
    other = _edit(editor, volume_node, "other")
    _stroke(editor, volume_node, plane, np.zeros_like(predicted[plane.voxels]))
    assert not _labels(node, volume_node).any()
    assert not _labels(other, volume_node).any()
    ui = _choose_effect(editor)
    assert _session().loop.segmentationNode is other
    assert not ui.takeOverButton.enabled


def test_masking_of_this_segment_editor_is_respected(module, edited):
    editor, phantom, volume_node, node = edited
    ui = _choose_effect(editor)
    predicted = _predict(phantom, volume_node, node)
    paint_plane(node, volume_node, phantom.labels, middle(phantom.labels, 0))
    parameters = editor.mrmlSegmentEditorNode()
    image = slicer.util.arrayFromVolume(volume_node)
    least = float(np.median(image[predicted > 0]))
    parameters.SetSourceVolumeIntensityMask(True)
    parameters.SetSourceVolumeIntensityMaskRange(least, float(image.max()))
    drawing = _session().loop.drawing()
    np.testing.assert_array_equal(drawing.protected, image < least)
    assert ui.confirmButton.enabled


def test_the_region_is_shown_while_the_effect_is_active(module, edited):
    editor, phantom, volume_node, node = edited
    _choose_effect(editor)
    paint_plane(node, volume_node, phantom.labels, middle(phantom.labels, 0))
    assert _session().regionBox.shownNode is not None
    editor.setActiveEffectByName("Paint")
    assert _session().regionBox.shownNode is None


def test_nothing_to_work_on_is_said_and_can_be_mended(module, edited):
    from SparseSegModule.results import INPUT_ATTRIBUTE

    editor, _phantom, volume_node, node = edited
    editor.setSourceVolumeNode(None)
    ui = _choose_effect(editor)
    face = _face(editor)
    assert "source volume" in face.whyLabel.text
    assert not ui.densifyButton.enabled
    editor.setSourceVolumeNode(volume_node)
    assert face.whyLabel.text == ""
    assert ui.densifyButton.enabled
    made = _edit(editor, volume_node, "made")
    made.SetAttribute(INPUT_ATTRIBUTE, "phantom")
    _choose_effect(editor)
    assert "made is a result of SparseSeg" in face.whyLabel.text
    assert not ui.densifyButton.enabled
    assert _session().loop.segmentationNode is node


def test_another_segmentation_waits_until_the_round_on_this_one_has_ended(module, edited, monkeypatch):
    editor, phantom, volume_node, node = edited
    ui = _choose_effect(editor)
    for axis in range(3):
        paint_plane(node, volume_node, phantom.labels, middle(phantom.labels, axis))
    ui.densifyButton.click()
    other = _edit(editor, volume_node, "other")
    _choose_effect(editor)
    assert "learns from drawn now" in _face(editor).whyLabel.text
    assert ui.cancelButton.enabled and not ui.confirmButton.enabled and not ui.densifyButton.enabled
    ui.cancelButton.click()
    assert Host.instance().wait(lambda: not _session().rounds.learns, 30)
    assert _face(editor).whyLabel.text == ""
    assert _session().loop.segmentationNode is other


def test_without_torch_densify_offers_to_install_it(module, edited, monkeypatch):
    from SparseSegModule import dependencies

    editor, phantom, volume_node, node = edited
    monkeypatch.setattr(dependencies, "installedVersion", lambda name: None)
    monkeypatch.setattr(dependencies, "hasPyTorchExtension", lambda: False)
    ui = _choose_effect(editor)
    _session().installation.look()
    paint_plane(node, volume_node, phantom.labels, middle(phantom.labels, 0))
    ui.densifyButton.click()
    ((kind, text),) = Host.instance().dialogs
    assert kind == "warning" and "Extensions Manager" in text
    assert _session().rounds.handle is None


def test_settings_are_those_of_the_panel(module, edited, monkeypatch):
    editor = edited[0]
    ui, opened = _choose_effect(editor), []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    _face(editor).settingsButton.click()
    assert opened == ["SparseSeg"]
    for check, name in (("liveCheckBox", "live"), ("scribbleButton", "scribble"), ("show3DButton", "show3D")):
        getattr(ui, check).setChecked(True)
        assert getattr(module.parameterNode, name)
        assert getattr(module.ui, check).checked
    assert _session().loop.scribble


def test_the_session_knows_no_face():
    """Panel and effect import it, and nothing of the panel is in what it imports."""
    folder, found, todo = MODULE.parent / "SparseSegModule", set(), ["session"]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += re.findall(r"from SparseSegModule\.(\w+) import", (folder / f"{name}.py").read_text("utf-8"))
    assert found >= {"session", "rounds", "resultView", "strokeWatch", "loop", "learner"}
    assert not {name for name in found if name.endswith("Part") or name in ("loopBar", "effectFace")}
    assert not [
        name
        for name in found
        if re.search(r"self\.panel\b|panel\.ui\b|self\.ui\b", (folder / f"{name}.py").read_text("utf-8"))
    ]


def test_the_panels_own_editor_has_every_effect_but_this_one(module):
    widget = module.ui.segmentEditorWidget
    assert "SparseSeg" in widget.availableEffectNames()
    assert "SparseSeg" not in widget._buttons
    assert {"Paint", "Islands", "Mask volume"} <= set(widget._buttons)


@pytest.mark.parametrize("end", ["reload", "close scene"])
def test_reload_and_scene_close_leave_nothing_behind_and_the_effect_goes_on(module, edited, end):
    editor, phantom, volume_node, _node = edited
    ui, host, old = _choose_effect(editor), Host.instance(), _session()
    assert old._strokes._mouse._tags
    if end == "reload":
        slicer.util.reloadScriptedModule("SparseSeg")
        assert not ui.loopBar.enabled
        assert _session() is not old
        assert old.faces == [] and old.loop is None
    else:
        host.closeScene()
        assert old.parameterNode is None and old.loop is None
        assert not ui.densifyButton.enabled
    assert old._strokes._mouse._tags == []
    host.processEvents(0.05)
    if end == "close scene":
        phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    node = _edit(editor, volume_node, "again")
    ui = _choose_effect(editor)
    paint_plane(node, volume_node, phantom.labels, middle(phantom.labels, 0))
    assert _session().planes().finished == (middle(phantom.labels, 0),)
    assert ui.densifyButton.enabled
    assert len([face for face in _session().faces if type(face).__name__ == "EffectFace"]) == 1
