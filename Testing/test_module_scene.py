"""What comes into the scene and leaves it: deleted inputs, what SparseSeg made itself, loaded scenes, sample data."""

import numpy as np
import pytest
import qt_states
import slicer
from host import Host
from module_helpers import add_phantom, add_volume, middle, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.errors import GeometryError


@pytest.fixture
def two(panel):
    """A panel on the first of two volumes, each with a drawing of its own; the volumes, and what is drawn on them."""
    volumes, drawings = [], []
    for name in ("first", "second"):
        phantom, volume_node = add_phantom(name=name)
        panel.parameterNode.inputVolume = volume_node
        drawings.append(panel.parameterNode.segmentation)
        paint_plane(drawings[-1], volume_node, phantom.labels, middle(phantom.labels, 0))
        volumes.append(volume_node)
    panel.parameterNode.inputVolume = volumes[0]
    Host.instance().processEvents(0.05)
    assert panel.parameterNode.segmentation is drawings[0]
    return panel, volumes, drawings


def _made(volume_node, name):
    """A segmentation and a map of uncertainty as SparseSeg makes them."""
    from SparseSegModule.results import addSegmentation, describe

    geometry = GEOMETRIES["identity"]
    nodes = addSegmentation(volume_node, name), add_volume(np.ones(geometry.shape), geometry, f"{name} map")
    for node in nodes:
        describe(node, volume_node, {"preset": "fast"})
    return nodes


@pytest.mark.parametrize("which", [0, 1])
def test_after_the_volume_is_deleted_none_is_chosen_and_nothing_new_is_made(two, which):
    panel, volumes, drawings = two
    panel.parameterNode.inputVolume = volumes[which]
    panel.parameterNode.shown = drawings[which]
    _made(volumes[which], "a result")
    Host.instance().processEvents(0.05)
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    slicer.mrmlScene.RemoveNode(volumes[which])
    Host.instance().processEvents(0.05)
    assert panel.parameterNode.inputVolume is None
    assert panel.ui.volumeSelector.currentNode() is None
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == segmentations
    assert not panel.ui.densifyButton.enabled
    panel.parameterNode.inputVolume = volumes[1 - which]
    assert panel.parameterNode.segmentation is drawings[1 - which]
    assert Host.instance().dialogs == []


def test_after_what_is_drawn_or_compared_is_deleted_none_is_chosen(two):
    panel, volumes, drawings = two
    node = panel.parameterNode
    _made(volumes[0], "a result")
    node.shown, node.reference = drawings[0], drawings[1]
    slicer.mrmlScene.RemoveNode(drawings[0])
    Host.instance().processEvents(0.05)
    assert node.segmentation is None
    assert node.shown is None
    assert node.reference is drawings[1]
    assert node.inputVolume is volumes[0]
    assert panel.ui.planeTable.rowCount == 0


def test_a_volume_that_was_chosen_as_a_channel_leaves_an_empty_choice(panel):
    nodes = [add_phantom(name=name)[1] for name in ("T1", "T2", "other")]
    channels = panel.parts[3].channels
    channels.show(("T1", "T2"), nodes[:2])
    slicer.mrmlScene.RemoveNode(nodes[1])
    assert [selector.currentNode() for selector in channels.selectors()] == [nodes[0], None]
    assert channels.volumes() == []


def test_what_sparseseg_made_is_refused_as_an_input_with_words(two):
    panel, volumes, drawings = two
    host, node = Host.instance(), panel.parameterNode
    segmentation_node, map_node = _made(volumes[0], "a result")
    node.segmentation = segmentation_node
    host.processEvents()
    assert node.segmentation is None
    assert [kind for kind, text in host.dialogs if "a result is a result of SparseSeg" in text] == ["warning"]
    node.segmentation = drawings[0]
    node.inputVolume = map_node
    host.processEvents()
    assert node.inputVolume is None
    assert "a result map" in host.dialogs[-1][1]
    panel.ui.caseSelector.setCheckState(map_node, qt_states.checked())
    assert panel.parts[3]._cases() == []


def test_a_sheared_volume_is_refused_with_words_and_not_exported(two, tmp_path):
    from SparseSegModule.volumes import ijkToRas, vtkFromMatrix

    panel, volumes, drawings = two
    matrix = ijkToRas(volumes[1])
    matrix[1, 2] = 0.3 * matrix[2, 2]
    volumes[1].SetIJKToRASMatrix(vtkFromMatrix(matrix))
    panel.parameterNode.inputVolume = volumes[1]
    assert panel.parameterNode.inputVolume is None
    ((kind, text),) = Host.instance().dialogs
    assert kind == "warning"
    assert "The axes of second are not at right angles" in text
    for name in ("a.nii.gz", "a.dcm"):
        with pytest.raises(GeometryError, match="not at right angles"):
            panel.logic.exportSegmentation(
                drawings[1], tmp_path / name, "nifti" if "nii" in name else "rtstruct", volumeNode=volumes[1]
            )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("entered", [True, False])
def test_the_channels_of_a_saved_scene_are_checked_again(panel, tmp_path, entered):
    host = Host.instance()
    nodes = [add_phantom(name=name)[1] for name in ("T1", "T2", "PD")]
    panel.parameterNode.inputVolume = nodes[0]
    for node in nodes[1:]:
        panel.ui.channelSelector.setCheckState(node, qt_states.checked())
    assert panel.channels() == nodes[1:]
    saved = host.saveScene(tmp_path / "scene")
    if not entered:
        panel.parent.exit()
    host.loadScene(saved)
    panel.parent.enter()
    assert [node.GetName() for node in panel.channels()] == ["T2", "PD"]
    assert [node.GetName() for node in panel.ui.channelSelector.checkedNodes()] == ["T2", "PD"]


def test_a_channel_that_is_unchecked_stays_so(panel):
    nodes = [add_phantom(name=name)[1] for name in ("T1", "T2", "PD")]
    panel.parameterNode.inputVolume = nodes[0]
    for node in nodes[1:]:
        panel.ui.channelSelector.setCheckState(node, qt_states.checked())
    panel.ui.channelSelector.setCheckState(nodes[1], qt_states.unchecked())
    panel.refresh()
    assert panel.channels() == [nodes[2]]


def test_the_sample_data_load_as_image_and_labels(panel):
    from SparseSegModule.selfTest import loadSample
    from SparseSegModule.volumes import volumeArray

    volume_node, truth_node = loadSample()
    assert volume_node.GetClassName() == "vtkMRMLScalarVolumeNode"
    assert truth_node.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert volumeArray(volume_node).shape == volumeArray(truth_node).shape
    assert set(np.unique(volumeArray(truth_node))) == {0, 1}


def test_lists_of_inputs_leave_out_what_sparseseg_made_and_lists_of_results_do_not(two):
    panel, volumes, drawings = two
    ui, automatic = panel.ui, panel.parts[3]
    automatic.channels.show(("T1", "T2"), [])
    segmentation_node, map_node = _made(volumes[0], "a result")
    Host.instance().processEvents(0.05)
    automatic.channels.show(("T1", "T2", "PD"), [])
    for selector in (ui.volumeSelector, ui.channelSelector, ui.caseSelector, *automatic.selectors()):
        assert selector.nodes() == volumes
    assert ui.segmentationSelector.nodes() == drawings
    for selector in (ui.shownSelector, ui.referenceSelector):
        assert selector.nodes() == [*drawings, segmentation_node]
    slicer.mrmlScene.RemoveNode(map_node)
    Host.instance().closeScene()
    _phantom, volume_node = add_phantom(name="with an ID that is used again")
    panel.parameterNode.inputVolume = volume_node
    assert ui.volumeSelector.currentNode() is volume_node


def test_a_volume_that_comes_while_the_panel_is_open_is_chosen_if_none_is(panel):
    host, node = Host.instance(), panel.parameterNode
    panel.parent.exit()
    _phantom, early = add_phantom(name="early")
    host.processEvents(0.05)
    assert node.inputVolume is None
    panel.parent.enter()
    assert node.inputVolume is early
    node.inputVolume = None
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "without an image")
    host.processEvents(0.05)
    assert node.inputVolume is None
    _phantom, late = add_phantom(name="late")
    add_phantom(name="later")
    host.processEvents(0.05)
    assert node.inputVolume is late
    assert node.segmentation.GetName() == "late segmentation"


def test_a_segmentation_created_in_the_list_can_be_drawn_in_at_once(two):
    panel, volumes, _drawings = two
    created = panel.ui.segmentationSelector.addNode()
    Host.instance().processEvents(0.05)
    segmentation = created.GetSegmentation()
    assert panel.parameterNode.segmentation is created
    assert segmentation.GetNumberOfSegments() == 1
    assert segmentation.GetNthSegment(0).GetName() == "object"
    assert panel.ui.segmentEditorWidget.currentSegmentID() == segmentation.GetNthSegmentID(0)
    panel.parameterNode.inputVolume = volumes[1]
    panel.parameterNode.inputVolume = volumes[0]
    assert created.GetNodeReference("referenceImageGeometryRef") is volumes[0]


def test_what_is_drawn_lies_in_the_study_of_its_volume(panel):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    _phantom, volume_node = add_phantom()
    hierarchy.CreateItem(study, volume_node)
    panel.parameterNode.inputVolume = volume_node
    for node in (panel.parameterNode.segmentation, panel.ui.segmentationSelector.addNode()):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_a_double_click_on_a_segment_renames_it_and_opens_no_list_of_terms(panel):
    (table,) = slicer.util.findChildren(panel.ui.segmentEditorWidget, className="qMRMLSegmentsTableView")
    assert not table.useTerminologySelector


def test_no_tool_listens_while_the_scene_closes_and_strokes_are_followed_in_the_next_one(panel):
    """The Segment Editor's tools crash Slicer where they go on with nodes of a scene that was closed."""
    editor, scene, seen = panel.ui.segmentEditorWidget, slicer.mrmlScene, []
    panel.parameterNode.inputVolume = add_phantom()[1]
    editor.setActiveEffectByName("Paint")
    look = scene.AddObserver(
        scene.StartCloseEvent, lambda *_: seen.append((editor.activeEffect(), editor._observing)), -1.0
    )
    Host.instance().closeScene()
    scene.RemoveObserver(look)
    assert seen == [(None, False)]
    assert editor._observing
    phantom, volume_node = add_phantom()
    panel.parameterNode.inputVolume = volume_node
    plane = middle(phantom.labels, 0)
    panel.session.jump(plane)
    editor.setActiveEffectByName("Paint")
    interactor = slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor()
    interactor.InvokeEvent("LeftButtonPressEvent")
    paint_plane(panel.parameterNode.segmentation, volume_node, phantom.labels, plane)
    assert panel.session.planes().planes == ()  # the stroke goes on
    interactor.InvokeEvent("LeftButtonReleaseEvent")
    Host.instance().processEvents(0.05)
    assert panel.session.planes().finished == (plane,)
