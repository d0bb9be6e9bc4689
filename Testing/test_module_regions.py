"""Regions of interest as boxes in the views."""

import numpy as np
import pytest
import slicer
import vtk
from module_helpers import add_phantom, moved
from phantoms import GEOMETRIES

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
