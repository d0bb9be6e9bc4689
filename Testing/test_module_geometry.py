"""The result lies exactly where the anatomy is: oblique, flipped, anisotropic grids, and transforms."""

import numpy as np
import pytest
import slicer
import vtk
from module_helpers import add_phantom, add_volume
from phantoms import GEOMETRIES

from SparseSegLib.errors import GeometryError, VolumeError


def _transform(matrix: np.ndarray):
    from SparseSegModule.volumes import vtkFromMatrix

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(vtkFromMatrix(matrix))
    return node


def _rotation() -> np.ndarray:
    angle = np.radians(30)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = 11.0, -7.5, 23.0
    return matrix


def _segmentation(volume_node, labels: np.ndarray):
    from SparseSegModule.results import addSegmentation
    from SparseSegModule.segmentChanges import setLabels
    from SparseSegModule.segments import SegmentStyle
    from SparseSegModule.volumes import ijkToRas

    node = addSegmentation(volume_node, "drawn")
    values = range(1, labels.max() + 1)
    styles = {value: SegmentStyle(f"class {value}", (0.1 * value, 0.5, 0.5)) for value in values}
    setLabels(node, labels, ijkToRas(volume_node), styles)
    return node


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_grid_survives_the_way_to_a_node_and_back(panel, name):
    from SparseSegModule.volumes import volumeArray, volumeGeometry

    phantom, node = add_phantom(GEOMETRIES[name])
    assert volumeGeometry(node).matches(GEOMETRIES[name], 1e-5)
    index = np.array([3, 5, 7])
    x, y, z = GEOMETRIES[name].index_to_physical(index)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    np.testing.assert_allclose(matrix.MultiplyPoint((7, 5, 3, 1))[:3], (-x, -y, z), atol=1e-4)
    assert volumeArray(node).shape == phantom.labels.shape


@pytest.mark.parametrize("name", GEOMETRIES)
def test_segments_come_out_as_they_were_put_in_and_share_one_layer(panel, name):
    from phantoms import multi_class
    from SparseSegModule.segmentLabels import classLabels
    from SparseSegModule.segments import segmentStyles

    phantom = multi_class(GEOMETRIES[name])
    volume_node = add_volume(phantom.volume.array[0], GEOMETRIES[name], "three")
    node = _segmentation(volume_node, phantom.labels)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert [style.name for style in segmentStyles(node)] == ["class 1", "class 2", "class 3"]
    np.testing.assert_array_equal(classLabels(node, volume_node).whole(phantom.labels.shape), phantom.labels)


@pytest.mark.parametrize("under", ["volume", "segmentation", "both the same", "different"])
def test_transforms_are_followed(panel, under):
    from SparseSegModule.segmentLabels import classLabels

    phantom, volume_node = add_phantom(GEOMETRIES["oblique"])
    node = _segmentation(volume_node, phantom.labels)
    transform, shape = _transform(_rotation()), phantom.labels.shape
    if under in ("volume", "both the same", "different"):
        volume_node.SetAndObserveTransformNodeID(transform.GetID())
    if under in ("segmentation", "both the same"):
        node.SetAndObserveTransformNodeID(transform.GetID())
    if under == "different":
        shift = np.eye(4)
        shift[0, 3] = 5.0
        node.SetAndObserveTransformNodeID(_transform(shift @ _rotation()).GetID())
    found = classLabels(node, volume_node).whole(shape)
    if under == "both the same":
        np.testing.assert_array_equal(found, phantom.labels)
        return
    expected = _by_points(node, volume_node, phantom)
    np.testing.assert_array_equal(found, expected)


def _by_points(segmentation_node, volume_node, phantom) -> np.ndarray:
    """Each voxel's center, taken through both nodes' transforms to the nearest voxel of the segmentation's grid."""
    geometry = phantom.volume.geometry
    index = np.argwhere(np.ones(geometry.shape, bool))
    points = geometry.index_to_physical(index) * [-1, -1, 1]
    to_world, from_world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    if volume_node.GetParentTransformNode():
        volume_node.GetParentTransformNode().GetMatrixTransformToWorld(to_world)
    if segmentation_node.GetParentTransformNode():
        segmentation_node.GetParentTransformNode().GetMatrixTransformFromWorld(from_world)
    matrix = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Multiply4x4(from_world, to_world, matrix)
    moved = np.array([matrix.MultiplyPoint((*point, 1.0))[:3] for point in points]) * [-1, -1, 1]
    there = np.rint(geometry.physical_to_index(moved)).astype(int)
    inside = ((there >= 0) & (there < geometry.shape)).all(1)
    out = np.zeros(geometry.shape, np.uint8)
    out[tuple(index[inside].T)] = phantom.labels[tuple(there[inside].T)]
    return out


def test_a_transform_that_is_not_linear_is_followed_by_slicers_own_export(panel):
    from SparseSegModule.segmentLabels import classLabels

    from SparseSegLib.evaluation import iou

    phantom, volume_node = add_phantom()
    node = _segmentation(volume_node, phantom.labels)
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in ((0, 0, 0), (-39, 0, 0), (0, -31, 0), (0, 0, 19), (-39, -31, 19)):
        source.InsertNextPoint(corner)
        target.InsertNextPoint(corner[0] + 4, corner[1], corner[2])
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(spline)
    assert not transform.IsTransformToWorldLinear()
    node.SetAndObserveTransformNodeID(transform.GetID())
    moved = np.roll(phantom.labels, -4, axis=2)  # 4 mm to the right in RAS is towards lower x
    assert iou(classLabels(node, volume_node).whole(moved.shape) > 0, moved > 0) > 0.9


def test_applying_a_result_follows_the_transforms_too(panel):
    from SparseSegModule.segmentChanges import applyLabels
    from SparseSegModule.segmentLabels import classLabels
    from SparseSegModule.segments import classSegmentIds
    from SparseSegModule.volumes import ijkToRas

    phantom, volume_node = add_phantom(GEOMETRIES["flipped"])
    node = _segmentation(volume_node, phantom.labels)
    node.SetAndObserveTransformNodeID(_transform(_rotation()).GetID())
    applyLabels(
        node, volume_node, phantom.labels, ijkToRas(volume_node), dict(enumerate(classSegmentIds(node), start=1))
    )
    np.testing.assert_array_equal(classLabels(node, volume_node).whole(phantom.labels.shape), phantom.labels)


def test_a_segmentation_drawn_on_a_cropped_or_larger_grid_is_put_in_its_place(panel):
    from SparseSegModule.segmentChanges import orientedImage
    from SparseSegModule.segmentLabels import classLabels
    from SparseSegModule.volumes import matrixFromGeometry

    phantom, volume_node = add_phantom(GEOMETRIES["oblique"])
    geometry, shape = phantom.volume.geometry, phantom.labels.shape
    larger = geometry.crop(tuple(slice(-3, size + 4) for size in shape))
    node = _segmentation(volume_node, phantom.labels)
    segment = node.GetSegmentation().GetNthSegment(0)
    image = orientedImage(np.pad(phantom.labels, ((3, 4), (3, 4), (3, 4))), matrixFromGeometry(larger))
    segment.AddRepresentation("Binary labelmap", image)
    np.testing.assert_array_equal(classLabels(node, volume_node).whole(shape), phantom.labels)


def test_a_shearing_transform_and_a_color_volume_are_refused_with_words(panel):
    from SparseSegModule.volumes import channelGeometry, volumeArray

    _phantom, first = add_phantom(name="first")
    _phantom, second = add_phantom(name="second")
    shear = np.eye(4)
    shear[0, 1] = 0.4
    second.SetAndObserveTransformNodeID(_transform(shear).GetID())
    with pytest.raises(GeometryError, match="shears") as caught:
        channelGeometry(second, first)
    assert "Harden" in caught.value.hint
    colored = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6, 3), np.uint8), nodeClassName="vtkMRMLVectorVolumeNode")
    with pytest.raises(VolumeError, match="several numbers"):
        volumeArray(colored)


def test_overlapping_segments_the_later_one_counts(panel):
    from SparseSegModule.results import addSegmentation
    from SparseSegModule.segmentLabels import classLabels

    phantom, volume_node = add_phantom()
    node = addSegmentation(volume_node, "drawn")
    first, second = (node.GetSegmentation().AddEmptySegment("", name) for name in ("first", "second"))
    mask = np.zeros(phantom.labels.shape, np.uint8)
    mask[4:9, 5:12, 6:20] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, first, volume_node)
    smaller = np.zeros_like(mask)
    smaller[5:7, 6:9, 8:12] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(smaller, node, second, volume_node)
    assert node.GetSegmentation().GetNumberOfLayers() == 2
    found = classLabels(node, volume_node).whole(mask.shape)
    np.testing.assert_array_equal(found, np.where(smaller, 2, mask))
