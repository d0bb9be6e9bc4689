"""3D Slicer's own storage node and ours read each other's .seg.nrrd files."""

import numpy as np
import pytest
from phantoms import GEOMETRIES, SHAPE, multi_class

from SparseSegLib.image import Geometry, place
from SparseSegLib.io import SegmentInfo, read_labels, write_labels

slicer = pytest.importorskip("slicer", reason="needs the package slicer-core")
vtk = pytest.importorskip("vtk")
numpy_support = pytest.importorskip("vtk.util.numpy_support")

VESSEL = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^59820001^Blood vessel"
    "~^^~Anatomic codes - DICOM master list~^^~^^"
)
TISSUE = VESSEL.replace("SCT^59820001^Blood vessel", "SCT^85756007^Tissue")
LABELS = multi_class().labels
SEGMENTS = [
    SegmentInfo(3, "Gefäß 日本", (0.25, 0.5, 1.0), VESSEL),
    SegmentInfo(1, "C:\\shell\nof a:=b; c|d", (1.0, 0.0, 0.0)),
    SegmentInfo(2, "core", (0.0, 1.0, 0.125), algorithm="MANUAL"),
    SegmentInfo(4, "empty", (0.5, 0.5, 0.5)),
]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


def storage(scene, path):
    node = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    node.SetFileName(str(path))
    return node


def read_with_slicer(scene, path):
    node = slicer.vtkMRMLSegmentationNode()
    scene.AddNode(node)
    assert storage(scene, path).ReadData(node) == 1
    return node


def ijk_to_ras(geometry: Geometry) -> np.ndarray:
    matrix = LPS_TO_RAS @ geometry.affine()
    matrix[:, :3] = matrix[:, 2::-1]
    return matrix


def matrix_of(image) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def dense(image) -> np.ndarray:
    """Return Slicer's image, whose extent may be cropped, on the whole grid."""
    x0, x1, y0, y1, z0, z1 = image.GetExtent()
    array = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(z1 - z0 + 1, y1 - y0 + 1, x1 - x0 + 1)
    whole = np.zeros(SHAPE, array.dtype)
    whole[z0 : z1 + 1, y0 : y1 + 1, x0 : x1 + 1] = array
    return whole


@every_geometry
def test_slicer_reads_what_we_write(scene, tmp_path, geometry):
    path = tmp_path / "Leber ü 日本.seg.nrrd"
    write_labels(LABELS, geometry, path, SEGMENTS)
    node = read_with_slicer(scene, path)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == len(SEGMENTS)
    assert segmentation.GetNumberOfLayers() == 1
    for index, info in enumerate(SEGMENTS):
        segment = segmentation.GetNthSegment(index)
        assert segment.GetName() == info.name and segment.GetLabelValue() == info.value
        assert segment.GetColor() == pytest.approx(info.color)
        tag = vtk.reference("")
        assert segment.GetTag("TerminologyEntry", tag)  # Slicer's own where the file has none
        assert str(tag) == (info.terminology or TISSUE)
        image = segment.GetRepresentation("Binary labelmap")
        np.testing.assert_array_equal(dense(image) == info.value, info.value == LABELS)
        np.testing.assert_allclose(matrix_of(image), ijk_to_ras(geometry), atol=1e-6)


@every_geometry
def test_slicer_learns_the_image_geometry(scene, tmp_path, geometry):
    write_labels(LABELS, geometry, tmp_path / "a.seg.nrrd", SEGMENTS)
    segmentation = read_with_slicer(scene, tmp_path / "a.seg.nrrd").GetSegmentation()
    image = slicer.vtkOrientedImageData()
    text = segmentation.GetConversionParameter("Reference image geometry")
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False)
    np.testing.assert_allclose(matrix_of(image), ijk_to_ras(geometry), atol=1e-6)
    assert image.GetExtent() == (0, SHAPE[2] - 1, 0, SHAPE[1] - 1, 0, SHAPE[0] - 1)


def slicer_segmentation(scene, geometry, segments):
    """Make a segmentation in Slicer of (name, box): each in a layer of its own, cropped to its box, value 1."""
    node = slicer.vtkMRMLSegmentationNode()
    scene.AddNode(node)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName("Binary labelmap")
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(ijk_to_ras(geometry).ravel())
    for name, box in segments:
        image = slicer.vtkOrientedImageData()
        image.SetExtent([n for part in reversed(box) for n in (part.start, part.stop - 1)])
        array = np.ones([part.stop - part.start for part in box], np.uint8)
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(array.ravel(), deep=True))
        image.SetImageToWorldMatrix(matrix)
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(0.5, 0.25, 1.0)
        if name == "B":
            segment.SetTag("TerminologyEntry", VESSEL)
        segment.AddRepresentation("Binary labelmap", image)
        segmentation.AddSegment(segment, name)
    reference = slicer.vtkOrientedImageData()
    reference.SetExtent(0, SHAPE[2] - 1, 0, SHAPE[1] - 1, 0, SHAPE[0] - 1)
    reference.SetImageToWorldMatrix(matrix)
    text = slicer.vtkSegmentationConverter.SerializeImageGeometry(reference)
    segmentation.SetConversionParameter("Reference image geometry", text)
    return node


@every_geometry
@pytest.mark.parametrize("cropped", [False, True])
def test_we_read_what_slicer_writes(scene, tmp_path, geometry, cropped):
    first, second = (slice(3, 9), slice(4, 20), slice(5, 30)), (slice(7, 12), slice(10, 25), slice(8, 33))
    node = slicer_segmentation(scene, geometry, [("Leber ü", first), ("B", second)])
    writer = storage(scene, tmp_path / "a.seg.nrrd")
    writer.SetCropToMinimumExtent(cropped)
    assert writer.WriteData(node) == 1
    labels, grid, segments = read_labels(tmp_path / "a.seg.nrrd")
    assert labels.shape == ((9, 21, 28) if cropped else SHAPE)
    color = (0.5, 0.25, 1.0)
    assert segments == [SegmentInfo(1, "Leber ü", color, TISSUE), SegmentInfo(2, "B", color, VESSEL)]
    expected = np.zeros(SHAPE, np.uint8)
    expected[first], expected[second] = 1, 2
    np.testing.assert_array_equal(place(labels, grid, geometry), expected)
