"""What a result is made of, and what the panel does with it: nodes, names, colors, study, 3D, uncertainty, discard."""

import os

import numpy as np
import pytest
import slicer
import vtk
from forked import launch_with
from host import Host
from module_helpers import add_phantom, middle, paint_plane
from phantoms import GEOMETRIES
from recorded import PlayedBack

from SparseSegLib.protocol import CHECKPOINT_FILE
from SparseSegLib.training.checkpoint import load_checkpoint

STEPS = 15
LIVER = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)


@pytest.fixture(scope="module")
def played_back(tmp_path_factory):
    """Launches the densifications of :func:`densified`, all of them alike."""
    return PlayedBack(tmp_path_factory.mktemp("recorded") / "job")


@pytest.fixture
def densified(panel, played_back, monkeypatch):
    """A panel after a short densification started with its button: the panel, the phantom and the volume node."""
    launch_with(played_back, monkeypatch)
    host, node = Host.instance(), panel.parameterNode
    phantom, volume_node = add_phantom(GEOMETRIES["anisotropic"])
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, volume_node)
    node.inputVolume = volume_node
    segment = node.segmentation.GetSegmentation().GetNthSegment(0)
    segment.SetName("liver")
    segment.SetColor(0.25, 0.5, 0.75)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), LIVER)
    for axis in range(3):
        paint_plane(node.segmentation, volume_node, phantom.labels, middle(phantom.labels, axis))
    start = panel.logic.densify
    monkeypatch.setattr(panel.logic, "densify", lambda *a, **k: start(*a, **{**k, "budgetSteps": STEPS}))
    panel.ui.densifyButton.click()
    assert host.wait(lambda: panel.session.rounds.handle is None, 60)
    assert host.dialogs == []
    return panel, phantom, volume_node


def _tag(segment, name):
    value = vtk.reference("")
    assert segment.GetTag(name, value)
    return str(value)


def test_the_nodes_say_where_they_come_from_and_lie_in_the_volumes_study(densified):
    panel, phantom, volume_node = densified
    result = panel.session.view.result
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(volume_node))
    assert hierarchy.GetItemName(study) == "study"
    for node in (result.labelmapNode, result.segmentationNode, result.uncertaintyNode):
        assert node.GetName().startswith("phantom dense (fast)")
        assert node.GetAttribute("SparseSeg.Input") == "phantom"
        assert node.GetAttribute("SparseSeg.Model") == "fast"
        assert '"seed": 0' in node.GetAttribute("SparseSeg.Settings")
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    segment = result.segmentationNode.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "liver"
    np.testing.assert_allclose(segment.GetColor(), (0.25, 0.5, 0.75))
    assert _tag(segment, slicer.vtkSegment.GetTerminologyEntryTagName()) == LIVER
    assert _tag(segment, "DICOM.SegmentAlgorithmType") == "SEMIAUTOMATIC"
    labelmap = segment.GetRepresentation(
        slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    )
    assert labelmap.GetPointData().GetArray("ImageScalars") is not None  # which Slicer's DICOM SEG export looks for
    assert result.segmentationNode.GetSegmentation().GetNumberOfLayers() == 1
    table = result.labelmapNode.GetDisplayNode().GetColorNode()
    assert table.GetColorName(1) == "liver"
    reference = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert result.segmentationNode.GetNodeReference(reference) is volume_node
    uncertainty = slicer.util.arrayFromVolume(result.uncertaintyNode)
    assert uncertainty.min() >= 0
    assert 0 < uncertainty.max() <= 1
    matrix = slicer.util.arrayFromVolume(result.labelmapNode)
    assert matrix.shape == phantom.labels.shape


def test_a_second_result_updates_the_first_and_leaves_a_copy_alone(densified):
    panel, _phantom, volume_node = densified
    view = panel.session.view
    first = view.result
    panel.ui.keepButton.click()
    (copy,) = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if "copy" in node.GetName()]
    kept = _dense(copy, volume_node)
    np.testing.assert_array_equal(kept, _dense(first.segmentationNode, volume_node))
    assert _tag(copy.GetSegmentation().GetNthSegment(0), slicer.vtkSegment.GetTerminologyEntryTagName()) == LIVER
    panel.session.rounds.learner.abandon()  # what was recorded has one round
    panel.ui.densifyButton.click()
    assert Host.instance().wait(lambda: panel.session.rounds.handle is None, 60)
    second = view.result
    for kind in ("labelmap", "segmentation", "uncertainty"):
        assert getattr(second, f"{kind}Node") is getattr(first, f"{kind}Node")
    assert second.segmentationNode.GetDisplayNode().GetVisibility()
    assert panel.parameterNode.shown is second.segmentationNode
    np.testing.assert_array_equal(_dense(copy, volume_node), kept)


def _dense(segmentation_node, volume_node):
    from SparseSegModule.segmentLabels import classLabels

    return classLabels(segmentation_node, volume_node).whole(volume_node.GetImageData().GetDimensions()[::-1])


def test_the_opacity_slider_fades_from_inputs_to_results(densified):
    panel, _phantom, _volume_node = densified
    result = panel.session.view.result
    drawn = panel.parameterNode.segmentation
    for share in (0.0, 0.25, 1.0):
        panel.ui.opacitySlider.value = share
        Host.instance().processEvents()
        assert drawn.GetDisplayNode().GetOpacity() == pytest.approx(1 - share)
        assert result.segmentationNode.GetDisplayNode().GetOpacity() == pytest.approx(share)


def test_show_3d_makes_a_surface_and_takes_it_away(densified):
    panel, _phantom, _volume_node = densified
    node = panel.session.view.result.segmentationNode
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    segment = node.GetSegmentation().GetNthSegment(0)
    panel.ui.show3DButton.click()
    assert segment.GetRepresentation(surface).GetNumberOfPoints() > 100
    panel.ui.show3DButton.click()
    assert segment.GetRepresentation(surface) is None


def test_the_uncertainty_lies_over_the_image_while_its_button_is_down(densified):
    panel, _phantom, volume_node = densified
    uncertainty = panel.session.view.result.uncertaintyNode
    composite = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    panel.ui.uncertaintyButton.click()
    Host.instance().processEvents()
    assert composite.GetForegroundVolumeID() == uncertainty.GetID()
    assert composite.GetBackgroundVolumeID() == volume_node.GetID()
    panel.ui.uncertaintyButton.click()
    Host.instance().processEvents()
    assert composite.GetForegroundVolumeID() is None


def test_the_uncertainty_is_one_color_and_transparent_where_the_result_is_sure(densified):
    panel, _phantom, _volume_node = densified
    display = panel.session.view.result.uncertaintyNode.GetDisplayNode()
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == 0.25
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 1)
    colors = display.GetColorNode()
    shades = np.zeros((256, 4))
    for value, shade in enumerate(shades):
        assert colors.GetColor(value, shade)
    hues = shades[:, :3] / shades[:, :3].max(1, keepdims=True)
    np.testing.assert_allclose(hues, hues[:1].repeat(256, 0), atol=0.01)
    assert (np.diff(shades[:, 0]) >= 0).all() and shades[255, 0] > 1.5 * shades[0, 0]
    panel.session.rounds.learner.abandon()  # what was recorded has one round
    panel.ui.densifyButton.click()
    assert Host.instance().wait(lambda: panel.session.rounds.handle is None, 60)
    assert panel.session.view.result.uncertaintyNode.GetDisplayNode().GetColorNode() is colors


def test_discard_removes_the_result_and_leaves_the_drawing(densified):
    from SparseSegModule.segmentLabels import classLabels

    panel, phantom, volume_node = densified
    view, drawn = panel.session.view, panel.parameterNode.segmentation
    tables = len(slicer.util.getNodesByClass("vtkMRMLColorTableNode"))
    before, result = classLabels(drawn, volume_node).whole(phantom.labels.shape), view.result
    panel.ui.show3DButton.click()
    panel.ui.discardButton.click()
    assert panel.ui.progressLabel.text == "The result was removed."
    assert not panel.ui.show3DButton.checked
    for node in (result.labelmapNode, result.segmentationNode, result.uncertaintyNode):
        assert node.GetScene() is None
    np.testing.assert_array_equal(classLabels(drawn, volume_node).whole(phantom.labels.shape), before)
    assert len(slicer.util.getNodesByClass("vtkMRMLColorTableNode")) == tables - 1
    assert drawn.GetDisplayNode().GetOpacity() == 1
    assert not panel.ui.applyButton.enabled


def test_apply_needs_the_segmentation_that_was_drawn_on(densified):
    panel, _phantom, _volume_node = densified
    node, drawn = panel.parameterNode, panel.parameterNode.segmentation
    assert panel.ui.applyButton.enabled
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    node.segmentation = other
    Host.instance().processEvents()
    assert not panel.ui.applyButton.enabled
    node.segmentation = drawn
    Host.instance().processEvents()
    assert panel.ui.applyButton.enabled


def test_apply_leaves_segments_alone_that_came_later_and_refuses_where_one_is_gone(densified):
    from SparseSegModule.segmentLabels import classLabels

    panel, phantom, volume_node = densified
    drawn = panel.parameterNode.segmentation
    segmentation = drawn.GetSegmentation()
    later = segmentation.AddEmptySegment("", "later")
    mask = np.zeros(phantom.labels.shape, np.uint8)
    mask[0, :4, :4] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, drawn, later, volume_node)
    Host.instance().processEvents(0.05)
    segmentation.SetSegmentIndex(later, 0)
    panel.ui.applyButton.click()
    found = classLabels(drawn, volume_node).whole(mask.shape)
    np.testing.assert_array_equal(found == 1, mask == 1)
    assert (found == 2).sum() > (phantom.labels > 0).sum() / 10


def test_a_result_whose_segment_was_removed_is_not_applied(densified):
    panel, _phantom, _volume_node = densified
    segmentation = panel.parameterNode.segmentation.GetSegmentation()
    segmentation.AddEmptySegment("", "another")
    segmentation.RemoveSegment(segmentation.GetNthSegmentID(0))
    Host.instance().processEvents(0.05)
    panel.ui.applyButton.click()
    ((kind, text),) = Host.instance().dialogs
    assert kind == "error"
    assert "removed" in text
    Host.instance().errors.clear()  # Slicer's tryWithErrorDisplay shows the error and raises it again
    assert panel.session.view.result is not None


def test_a_result_of_another_grid_is_not_applied(densified):
    panel, _phantom, volume_node = densified
    host, view = Host.instance(), panel.session.view
    volume_node.SetSpacing(1.0, 1.0, 1.0)
    panel.ui.applyButton.click()
    ((kind, text),) = host.dialogs
    assert kind == "error"
    assert "another grid than phantom" in text
    assert view.result is not None
    host.dialogs.clear()
    host.errors.clear()


def test_weights_stay_in_their_scene(densified):
    panel, _phantom, _volume_node = densified
    host, jobs = Host.instance(), panel.logic.jobRunner
    weights = jobs.checkpoint("").parent
    panel.session.rounds.learner.abandon()  # another worker will start from them
    assert host.wait(lambda: list(weights.glob("*.pt")), 5)
    panel.ui.show3DButton.click()
    host.closeScene()
    assert not weights.exists()
    assert panel.ui.progressLabel.text == ""
    assert not panel.ui.show3DButton.checked
    assert not panel.ui.plotButton.enabled


def test_weights_too_large_for_a_scene_are_left_out_with_words(densified, monkeypatch):
    from SparseSegModule.remembered import rememberedWeights

    panel, _phantom, _volume_node = densified
    assert rememberedWeights(panel.parameterNode.segmentation)
    assert "too large" not in panel.ui.progressLabel.text
    monkeypatch.setattr("SparseSegModule.densifyWork.MOST_WEIGHTS", 10)
    panel.session.rounds.learner.abandon()  # what was recorded has one round
    panel.ui.densifyButton.click()
    assert Host.instance().wait(lambda: panel.session.rounds.handle is None, 60)
    assert "too large to be saved with the scene" in panel.ui.progressLabel.text
    assert not rememberedWeights(panel.parameterNode.segmentation), "those of the first result are another's"


def test_the_training_is_a_plot_of_loss_and_held_out_iou(densified):
    panel, _phantom, _volume_node = densified
    chart = panel.parts[2].chart
    assert chart.chartNode.GetNumberOfPlotSeriesNodes() == 2
    for series in chart.seriesNodes:
        assert series.GetMarkerStyle() != series.MarkerStyleNone  # for a single point
    table = chart.tableNode.GetTable()
    assert table.GetNumberOfRows() >= 1
    assert [table.GetColumnName(column) for column in range(3)] == ["step", "loss", "IoU held out"]
    assert np.isfinite(table.GetValue(0, 1).ToDouble())
    last = table.GetValue(table.GetNumberOfRows() - 1, 2).ToDouble()
    assert last == panel.session.view.result.estimatedIoU
    excluded = slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyExcludeFromTreeAttributeName()
    for node in (chart.tableNode, chart.chartNode, *chart.seriesNodes):
        assert node.GetAttribute(excluded)


def test_plot_pressed_again_brings_the_layout_back(densified):
    panel, _phantom, _volume_node = densified
    manager, button = slicer.app.layoutManager(), panel.ui.plotButton
    selection = slicer.app.applicationLogic().GetSelectionNode()
    layouts = slicer.vtkMRMLLayoutNode
    manager.setLayout(layouts.SlicerLayoutOneUpRedSliceView)
    button.click()
    with_plot = manager.layout
    assert with_plot != layouts.SlicerLayoutOneUpRedSliceView
    assert selection.GetActivePlotChartID() == panel.parts[2].chart.chartNode.GetID()
    panel.session.rounds.learner.abandon()  # what was recorded has one round
    panel.ui.densifyButton.click()
    assert Host.instance().wait(lambda: panel.session.rounds.handle is None, 60)
    button.click()
    assert manager.layout == with_plot
    assert selection.GetActivePlotChartID() == panel.parts[2].chart.chartNode.GetID()
    button.click()
    assert manager.layout == layouts.SlicerLayoutOneUpRedSliceView
    button.click()
    manager.setLayout(layouts.SlicerLayoutFourUpView)
    button.click()
    assert manager.layout == with_plot
    button.click()
    assert manager.layout == layouts.SlicerLayoutFourUpView


@pytest.mark.parametrize(("output", "kinds"), [("labelmap", (True, False)), ("segmentation", (False, True))])
def test_the_user_chooses_what_to_keep_and_applies_it_all_the_same(panel, monkeypatch, output, kinds):
    from SparseSegModule.segmentLabels import classLabels

    phantom, volume_node = add_phantom()
    node = panel.parameterNode
    node.inputVolume, node.output = volume_node, output
    for axis in range(3):
        paint_plane(node.segmentation, volume_node, phantom.labels, middle(phantom.labels, axis))
    start = panel.logic.densify
    monkeypatch.setattr(panel.logic, "densify", lambda *a, **k: start(*a, **{**k, "budgetSteps": STEPS}))
    panel.ui.densifyButton.click()
    assert Host.instance().wait(lambda: panel.session.rounds.handle is None, 60)
    result = panel.session.view.result
    assert (result.labelmapNode is not None, result.segmentationNode is not None) == kinds
    before = classLabels(node.segmentation, volume_node).whole(phantom.labels.shape)
    panel.ui.applyButton.click()
    assert panel.ui.progressLabel.text == f"The result was applied to {node.segmentation.GetName()}."
    after = classLabels(node.segmentation, volume_node).whole(phantom.labels.shape)
    assert after.sum() > before.sum()
    assert panel.session.loop.applied is not None


@pytest.mark.slow
def test_the_self_test_passes(panel, monkeypatch):
    monkeypatch.setenv("SPARSESEG_TEST_SECONDS", os.environ.get("SPARSESEG_TEST_SECONDS", "40"))
    import SparseSeg

    SparseSeg.SparseSegTest().runTest()


def test_the_self_test_of_bad_input_passes_alone_before_there_are_parameters(panel):
    from SparseSeg import SparseSegTest

    node = panel.parameterNode.parameterNode
    panel.setParameterNode(None)
    slicer.mrmlScene.RemoveNode(node)
    SparseSegTest().test_badInput()


def test_a_loaded_scene_goes_on_with_its_result(densified, tmp_path, monkeypatch):
    panel, phantom, _ = densified
    view, session = panel.session.view, panel.session
    before = view.result
    shown = _dense(before.segmentationNode, view._volumeNode)
    panel.parameterNode.resultOpacity = 0.9
    dimmed = panel.parameterNode.segmentation.GetDisplayNode().GetOpacity()
    saved = Host.instance().saveScene(tmp_path / "scene")
    slicer.mrmlScene.Clear(False)
    assert view.result is None
    Host.instance().loadScene(saved)
    Host.instance().processEvents(0.1)
    result, volume_node = view.result, panel.parameterNode.inputVolume
    figures = ("estimatedIoU", "nextSlice", "seconds", "steps", "milliliters", "reachesEdge", "annotation")
    assert [getattr(result, name) for name in figures] == [getattr(before, name) for name in figures]
    np.testing.assert_array_equal(_dense(result.segmentationNode, volume_node), shown)
    assert panel.ui.segmentEditorWidget.segmentationNode() is panel.parameterNode.segmentation, "it can be drawn in"
    assert session.suggestion == before.nextSlice
    assert panel.ui.progressLabel.text.startswith("Done in")
    works = []
    monkeypatch.setattr(panel.logic.jobRunner, "start", lambda work, listener, learning: works.append(work))
    panel.logic.densify(volume_node, panel.parameterNode.segmentation, wait=False)
    (tmp_path / "job").mkdir()
    works[0].write(tmp_path / "job")
    learned = load_checkpoint(tmp_path / "job" / CHECKPOINT_FILE)
    assert learned["finished"], "the next job starts from what was learned"
    assert learned["ensemble"]["experts"]["slice-unet"]["averaged_steps"] == STEPS
    panel.ui.densifyButton.click()
    assert works[-1].settings["shown"] == result.annotation == works[-1].take().sparseLabels().compact().digest
    plane = middle(phantom.labels, 0, 0.3)
    assert session.loop.predictedOn(plane) is not None, "corrections start from it"
    drawing = panel.parameterNode.segmentation
    assert drawing.GetDisplayNode().GetOpacity() == pytest.approx(dimmed)
    panel.ui.applyButton.click()
    assert drawing.GetDisplayNode().GetOpacity() == pytest.approx(1.0)
    assert (_dense(drawing, volume_node) == shown).mean() > 0.99
    panel.refresh()
    assert view.result is None, "it was applied"


def test_a_result_comes_back_with_its_drawing(densified):
    panel, _, volume_node = densified
    view, node = panel.session.view, panel.parameterNode
    first, drawing = view.result, node.segmentation
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    node.segmentation = other
    view.begin(volume_node, other)
    assert view.result is None
    node.segmentation = drawing
    assert view.result.segmentationNode is first.segmentationNode
    panel.ui.discardButton.click()
    panel.refresh()
    assert view.result is None
