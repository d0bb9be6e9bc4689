"""The stand-in host's MRML widgets and views behave as Slicer's do."""

import numpy as np
import pytest
from host_helpers import SHAPE, add_segmentation, add_volume


def test_stand_ins_are_as_strict_as_qt(slicer):
    combo = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError):
        combo.nodeType = "vtkMRMLScalarVolumeNode"
    with pytest.raises(AttributeError):
        combo.currentNode = None


def test_node_combo_follows_the_scene(host, slicer):
    combo, seen = slicer.qMRMLNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    combo.connect("currentNodeChanged(bool)", seen.append)
    combo.noneEnabled = True
    combo.setMRMLScene(slicer.mrmlScene)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    hidden = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    hidden.SetHideFromEditors(True)
    assert combo.nodeCount() == 0 and not seen
    volume = add_volume(slicer)
    assert combo.currentNode() is None and combo.nodeFromIndex(0) is volume
    combo.setCurrentNode(volume)
    assert seen == [volume, True]
    with pytest.raises(ValueError, match="qMRMLNodeComboBox has no signal"):
        combo.connect("currentNodeChanged(vtkMRMLScene*)", print)
    host.closeScene()
    assert seen[2:] == [None, False] and combo.nodeCount() == 0


def test_combo_without_none_takes_the_first(slicer):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(slicer.mrmlScene)
    volume = add_volume(slicer)
    assert combo.currentNode() is volume and combo.currentNodeID == volume.GetID()


def test_checkable_combo(slicer, qt):
    combo, seen = slicer.qMRMLCheckableNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.connect("checkedNodesChanged()", lambda: seen.append(1))
    combo.setMRMLScene(slicer.mrmlScene)
    first, second = add_volume(slicer, "one"), add_volume(slicer, "two")
    combo.setCheckState(second, qt.Qt.Checked)
    assert combo.checkedNodes() == [second] and combo.uncheckedNodes() == [first]
    slicer.mrmlScene.RemoveNode(second)
    assert combo.checkedNodes() == [] and len(seen) == 2


def test_a_combo_goes_on_with_a_neighbor_of_the_node_that_leaves(slicer):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes, combo.noneEnabled = ["vtkMRMLScalarVolumeNode"], True
    combo.setMRMLScene(slicer.mrmlScene)
    first, second, third = (add_volume(slicer, name) for name in ("one", "two", "three"))
    combo.setCurrentNode(second)
    slicer.mrmlScene.RemoveNode(second)
    assert combo.currentNode() is third
    slicer.mrmlScene.RemoveNode(third)
    assert combo.currentNode() is first
    slicer.mrmlScene.RemoveNode(first)
    assert combo.currentNode() is None


def test_a_checkable_combo_is_empty_for_a_moment_when_a_scene_was_loaded(host, slicer, qt, tmp_path):
    combo, seen = slicer.qMRMLCheckableNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(slicer.mrmlScene)
    combo.setCheckState(add_volume(slicer, "one"), qt.Qt.Checked)
    saved = host.saveScene(tmp_path / "scene")
    combo.connect("checkedNodesChanged()", lambda: seen.append((combo.nodes(), combo.checkedNodes())))
    host.loadScene(saved)
    assert seen[-1] == ([], [])
    assert [node.GetName() for node in combo.uncheckedNodes()] == ["one"]


def test_a_display_node_that_leaves_before_its_segmentation_is_an_error(host, slicer):
    volume = add_volume(slicer)
    one, other = (add_segmentation(slicer, volume, np.ones(SHAPE, np.uint8)) for _ in range(2))
    display = one.GetDisplayNode()
    slicer.mrmlScene.RemoveNode(one)
    assert display.GetScene() is None  # the scene has removed it, too
    assert host.errors == []
    slicer.mrmlScene.RemoveNode(other.GetDisplayNode())
    assert "Slicer crashes" in host.errors.pop()


def test_segment_editor_undoes(slicer):
    volume, array = add_volume(slicer), np.zeros(SHAPE, np.uint8)
    array[2:5, 3:6, 4:8] = 1
    segmentation = add_segmentation(slicer, volume, array)
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer.mrmlScene)
    with pytest.raises(RuntimeError, match="setMRMLSegmentEditorNode"):
        editor.setSegmentationNode(segmentation)
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setSegmentationNode(segmentation)
    assert editor.sourceVolumeNode() is volume and editor.currentSegmentID() == "a"
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect().name == "Paint"
    editor.saveStateForUndo()
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones_like(array), segmentation, "a", volume)
    editor.undo()
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "a", volume), array)


def test_views_show_volume_and_segment(host, slicer, qt, tmp_path):
    volume, array = add_volume(slicer), np.zeros(SHAPE, np.uint8)
    array[2:6, 3:8, 3:9] = 1
    add_segmentation(slicer, volume, array)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    host.renderSlices(tmp_path / "views.png", size=100, fit=True)
    assert_red_in_every_view(qt, tmp_path / "views.png")
    path = host.saveScene(tmp_path / "scene.mrb")
    host.closeScene()
    host.loadScene(path)
    slicer.util.setSliceViewerLayers(background=slicer.util.getNode("volume"))
    host.renderSlices(tmp_path / "again.png", size=100, fit=True)
    assert_red_in_every_view(qt, tmp_path / "again.png")


def assert_red_in_every_view(qt, path):
    image = qt.QImage(str(path))
    assert (image.width(), image.height()) == (300, 100)
    for view in range(3):
        colors = {
            image.pixelColor(x, y).getRgb()[:3] for x in range(100 * view + 30, 100 * view + 70) for y in range(30, 70)
        }
        assert any(red > green + 50 for red, green, _ in colors)
