"""Regions of interest as boxes in the views."""

import numpy as np
import pytest
import slicer
import vtk
from module_helpers import add_phantom, middle, moved, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.densify.region import region_of_interest
from SparseSegLib.errors import GeometryError

BOX = (slice(3, 9), slice(4, 15), slice(2, 20))


def _region(volume):
    from SparseSegModule.regions import fitRegion

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "region")
    fitRegion(node, volume, BOX)
    return node


@pytest.mark.parametrize("geometry", ["anisotropic", "oblique", "flipped"])
def test_a_region_that_is_laid_around_voxels_is_of_these_voxels(panel, geometry):
    from SparseSegModule.regions import regionBox

    _, volume = add_phantom(GEOMETRIES[geometry])
    node = _region(volume)
    assert regionBox(node, volume) == BOX
    spacing = volume.GetSpacing()[::-1]
    expected = [(side.stop - side.start) * step for side, step in zip(BOX, spacing, strict=True)][::-1]
    np.testing.assert_allclose(node.GetSize(), expected)


def test_a_region_follows_transforms_and_may_reach_beyond_the_volume(panel):
    from SparseSegModule.regions import regionBox

    _, volume = add_phantom(GEOMETRIES["anisotropic"])
    node = _region(volume)
    before = node.GetCenterWorld()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    transform.SetMatrixTransformToParent(moved(2 * volume.GetSpacing()[0]))
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert node.GetCenterWorld() != before
    direction = round(np.sign(_x_direction(volume)))
    assert regionBox(node, volume) == (*BOX[:2], slice(2 + 2 * direction, 20 + 2 * direction))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert regionBox(node, volume) == BOX


def _x_direction(volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix.GetElement(0, 0)


def test_a_region_under_a_transform_that_is_not_linear_is_refused(panel):
    from SparseSegModule.regions import regionBox

    _, volume = add_phantom()
    node = _region(volume)
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bend")
    node.SetAndObserveTransformNodeID(grid.GetID())
    with pytest.raises(GeometryError, match="not linear"):
        regionBox(node, volume)


def test_the_region_that_is_worked_on_is_one_box_that_cannot_be_moved(panel):
    from SparseSegModule.regions import regionBox, showRegion

    _, volume = add_phantom()
    node = showRegion(volume, BOX)
    assert node.GetLocked()
    assert not node.GetDisplayNode().GetHandlesInteractive()
    assert not node.GetSaveWithScene()
    other = (slice(0, 4), slice(0, 4), slice(0, 4))
    assert showRegion(volume, other, node) is node
    assert regionBox(node, volume) == other
    slicer.mrmlScene.RemoveNode(node)
    assert showRegion(volume, BOX, node) is not node


@pytest.fixture
def annotated(panel):
    """A panel with a phantom that is outlined on a slice of each orientation, and the region around these slices."""
    from SparseSegModule.annotation import readDrawing

    phantom, volume = add_phantom()
    panel.enter()
    node = panel.parameterNode
    node.inputVolume = volume
    for axis in range(3):
        paint_plane(node.segmentation, volume, phantom.labels, middle(phantom.labels, axis))
    panel.session.confirm()
    labels = readDrawing(volume, node.segmentation, panel.session.planes()).sparseLabels()
    return panel, volume, region_of_interest(labels, node.margin)


def test_the_panel_shows_the_region_that_will_be_worked_on_until_the_user_chooses_one(annotated):
    from SparseSegModule.regions import regionBox

    panel, volume, expected = annotated
    shown = panel.session.regionBox.shownNode
    assert regionBox(shown, volume) == expected
    panel.parameterNode.margin = 1.0
    assert regionBox(shown, volume) != expected
    panel.exit()
    assert panel.session.regionBox.shownNode is None
    assert shown.GetScene() is None
    panel.enter()
    assert panel.session.regionBox.shownNode is not None
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "own")
    panel.parameterNode.region = own
    assert panel.session.regionBox.shownNode is None
    panel.parameterNode.region = None
    assert panel.session.regionBox.shownNode is not None


def test_a_locked_segment_does_not_widen_the_region(annotated):
    from SparseSegModule.regionBox import annotatedRegion

    panel, volume, expected = annotated
    drawing, loop = panel.parameterNode.segmentation, panel.session.loop
    segment_id = drawing.GetSegmentation().AddEmptySegment("", "finished")
    rest = (loop.labels == 0).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(rest, drawing, segment_id, volume)
    loop.ignoreChange()
    assert annotatedRegion(loop, panel.parameterNode.margin) != expected
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(drawing.GetSegmentation().GetSegment(segment_id), logic.Completed)
    assert annotatedRegion(loop, panel.parameterNode.margin) == expected


def test_a_chosen_region_is_fitted_and_worked_in(annotated):
    from SparseSegModule.regions import regionBox

    panel, volume, expected = annotated
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "own")
    panel.parameterNode.region = own
    panel.ui.fitRegionButton.click()
    assert regionBox(own, volume) == expected
    settings = panel.session.rounds._learning(inRegion=True).settings
    assert settings["region"] == [end for side in expected for end in (side.start, side.stop)]


def test_a_result_that_reaches_the_edge_of_its_region_says_so(annotated):
    from SparseSegModule.regions import fitRegion
    from SparseSegModule.rounds import summary

    panel, volume, expected = annotated
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "own")
    fitRegion(own, volume, tuple(slice(side.start + 6, side.stop - 6) for side in expected))
    drawing = panel.parameterNode.segmentation
    result = panel.logic.densify(volume, drawing, budgetSteps=2, region=own)
    assert result.reachesEdge
    assert "edge of the region" in summary(result)
    assert not panel.logic.densify(volume, drawing, budgetSteps=2).reachesEdge
