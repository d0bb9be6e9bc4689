"""The result lies exactly where the anatomy is: oblique, flipped, anisotropic grids, and transforms."""

import json

import numpy as np
import pytest
import qt_states
import slicer
import vtk
from host import Host
from module_helpers import add_phantom, add_volume, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import GeometryError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_volume
from SparseSegLib.protocol import JOB_FILE


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


def _spline():
    """A shift by 4 mm that counts as not linear."""
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
    return transform


def _shear(amount: float):
    matrix = np.eye(4)
    matrix[0, 1] = amount
    return _transform(matrix)


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
    transform = _spline()
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
    second.SetAndObserveTransformNodeID(_shear(0.4).GetID())
    with pytest.raises(GeometryError, match="shears") as caught:
        channelGeometry(second, first)
    assert "Harden" in caught.value.hint
    colored = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6, 3), np.uint8), nodeClassName="vtkMRMLVectorVolumeNode")
    with pytest.raises(VolumeError, match="several numbers"):
        volumeArray(colored)


def test_densify_has_every_channel_where_its_transform_puts_it(panel, tmp_path, monkeypatch):
    phantom, first = add_phantom(name="T1")
    _phantom, second = add_phantom(name="T2")
    shift = np.eye(4)
    shift[0, 3] = 3.0 * first.GetSpacing()[0]
    second.SetAndObserveTransformNodeID(_transform(shift).GetID())
    panel.parameterNode.inputVolume = first
    panel.ui.channelSelector.setCheckState(second, qt_states.checked())
    paint_plane(panel.parameterNode.segmentation, first, phantom.labels, Plane(0, 10))
    works = []
    monkeypatch.setattr(panel.logic.jobRunner, "start", lambda work, listener, learning: works.append(work))
    panel.ui.densifyButton.click()
    works[-1].write(tmp_path)
    job = json.loads((tmp_path / JOB_FILE).read_text(encoding="utf-8"))
    volume = read_volume([tmp_path / name for name in job["inputs"]["volumes"]])
    works[-1].inputsRead()
    np.testing.assert_allclose(volume.array[0], phantom.volume.array[0] * 100)
    np.testing.assert_allclose(volume.array[1][..., :-3], phantom.volume.array[0][..., 3:] * 100, atol=0.1)


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


def test_a_volume_whose_slices_are_none_in_the_views_is_refused(panel):
    host, node = Host.instance(), panel.parameterNode
    _phantom, volume_node = add_phantom(GEOMETRIES["oblique"])
    for transform, refused in ((_shear(0.4), True), (_spline(), True), (_shear(0.02), False), (None, False)):
        volume_node.SetAndObserveTransformNodeID(transform.GetID() if transform is not None else None)
        node.inputVolume = volume_node
        assert (node.inputVolume is None) is refused
        assert [kind for kind, _text in host.dialogs] == ["warning"] * refused
        host.dialogs.clear()
    volume_node.SetAndObserveTransformNodeID(_spline().GetID())  # it is chosen already
    host.processEvents(0.05)
    ((_kind, text),) = host.dialogs
    assert "bends or shears" in text
    host.dialogs.clear()


def test_nothing_is_written_through_a_transform_that_is_not_linear(panel):
    from SparseSegModule.segmentChanges import applyLabels, changeSlice
    from SparseSegModule.segments import classSegmentIds
    from SparseSegModule.volumes import ijkToRas

    phantom, volume_node = add_phantom()
    node = _segmentation(volume_node, phantom.labels)
    node.SetAndObserveTransformNodeID(_spline().GetID())
    (name,) = classSegmentIds(node)
    with pytest.raises(GeometryError, match="not linear lies between phantom and drawn"):
        applyLabels(node, volume_node, phantom.labels, ijkToRas(volume_node), {1: name})
    with pytest.raises(GeometryError, match="not linear lies between phantom and drawn"):
        changeSlice(node, volume_node, Plane(0, 10), {name: phantom.labels[10] == 1})


def test_a_segmentation_of_surfaces_alone_is_read(panel):
    from SparseSegModule.segmentLabels import classLabels

    from SparseSegLib.evaluation import iou

    phantom, volume_node = add_phantom()
    node = _segmentation(volume_node, phantom.labels)
    node.CreateClosedSurfaceRepresentation()
    segmentation, converter = node.GetSegmentation(), slicer.vtkSegmentationConverter
    segmentation.SetSourceRepresentationName(converter.GetSegmentationClosedSurfaceRepresentationName())
    segmentation.RemoveRepresentation(converter.GetSegmentationBinaryLabelmapRepresentationName())
    assert iou(classLabels(node, volume_node).whole(phantom.labels.shape) > 0, phantom.labels > 0) > 0.9


def test_slices_of_another_grid_are_forgotten(panel):
    from SparseSegModule.volumes import imageFromArray

    host, node, annotate = Host.instance(), panel.parameterNode, panel.session
    phantom, volume_node = add_phantom()
    node.inputVolume = volume_node
    paint_plane(node.segmentation, volume_node, phantom.labels, Plane(0, 10))
    assert len(annotate.planes().planes) == 1
    part = np.ascontiguousarray(phantom.volume.array[0][:8, :20, :30])
    volume_node.SetAndObserveImageData(imageFromArray(part))
    host.processEvents(0.05)
    assert annotate.planes().planes == ()
    paint_plane(node.segmentation, volume_node, phantom.labels[:8, :20, :30], Plane(0, 5))
    assert [(plane.axis, plane.index) for plane in annotate.planes().planes] == [(0, 5)]
    volume_node.SetSpacing(2, 2, 2)
    host.processEvents(0.05)
    assert annotate.planes().planes == ()
    assert host.dialogs == []


def test_another_image_is_told_from_the_one_that_is_learned(panel):
    from SparseSegModule.volumes import ImageState, imageFromArray

    phantom, volume_node = add_phantom()
    other = add_phantom(name="other")[1]
    image = volume_node.GetImageData()
    known, channel = ImageState.of(volume_node), ImageState.of(other, volume_node)
    volume_node.SetAndObserveImageData(imageFromArray(phantom.volume.array[0]))
    assert ImageState.of(volume_node) != known
    volume_node.SetAndObserveImageData(image)
    assert ImageState.of(volume_node) == known
    volume_node.SetSpacing(2, 1, 1)
    assert ImageState.of(volume_node) != known
    volume_node.SetSpacing(1, 1, 1)
    slicer.util.arrayFromVolumeModified(volume_node)
    assert ImageState.of(volume_node) != known
    other.SetAndObserveTransformNodeID(_transform(_rotation()).GetID())
    assert ImageState.of(other, volume_node) != channel


def test_one_slice_is_no_volume(panel):
    geometry = Geometry((1, 12, 14), (3.0, 1.0, 1.0))
    labels = np.zeros(geometry.shape, np.uint8)
    labels[0, 3:8, 4:9] = 1
    volume_node = add_volume(labels * 100.0, geometry, "radiograph")
    with pytest.raises(VolumeError, match="radiograph is one slice thick"):
        panel.logic.densify(volume_node, _segmentation(volume_node, labels))
