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
