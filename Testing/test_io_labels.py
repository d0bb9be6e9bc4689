import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import GEOMETRIES, SHAPE, multi_class, oblique_geometry

from SparseSegLib.errors import FileError, UsageError, VolumeError
from SparseSegLib.image import Geometry, place
from SparseSegLib.io import SegmentInfo, default_color, read_labels, write_image, write_labels

SEGMENTS = [
    SegmentInfo(3, "Gefäß 日本", (0.25, 0.5, 1.0)),
    SegmentInfo(1, "shell; a|b:=c", (1.0, 0.0, 0.0)),
    SegmentInfo(2, "core", (0.0, 1.0, 0.125)),
]
LABELS = multi_class().labels

every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


@every_geometry
@pytest.mark.parametrize("suffix", [".nrrd", ".seg.nrrd", ".nii", ".nii.gz", ".mha"])
def test_labels_and_geometry_survive(tmp_path, geometry, suffix):
    write_labels(LABELS, geometry, tmp_path / f"a{suffix}", SEGMENTS)
    labels, grid, segments = read_labels(tmp_path / f"a{suffix}")
    assert labels.dtype == np.uint8 and grid.matches(geometry, 1e-4)
    np.testing.assert_array_equal(labels, LABELS)
    if suffix.endswith(".nrrd"):
        assert segments == SEGMENTS
    else:
        assert [s.name for s in segments] == ["Segment_1", "Segment_2", "Segment_3"]


@pytest.mark.parametrize("values", [(1, 255), (-3, 7), (4, 30000), (2, 60000), (5, 2**31 - 1), (5, 2**32 - 1)])
@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_integer_values_are_kept(tmp_path, values, suffix):
    labels = np.zeros(SHAPE, np.int64)
    labels[2:5], labels[7:9] = values
    write_labels(labels, oblique_geometry(), tmp_path / f"a{suffix}")
    read, _, segments = read_labels(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read, labels)
    assert [s.value for s in segments] == sorted(values)


def test_booleans_and_whole_floats_are_labels_and_fractions_are_not(tmp_path):
    write_labels(LABELS > 0, oblique_geometry(), tmp_path / "a.nrrd")
    assert read_labels(tmp_path / "a.nrrd")[0].dtype == np.uint8
    write_image(LABELS.astype(np.float32), oblique_geometry(), tmp_path / "b.nii.gz")
    labels, _, segments = read_labels(tmp_path / "b.nii.gz")
    assert labels.dtype == np.uint8 and len(segments) == 3
    np.testing.assert_array_equal(labels, LABELS)
    for value in (0.5, np.nan):
        write_image(np.where(LABELS, value, 0).astype(np.float32), oblique_geometry(), tmp_path / "c.nrrd")
        with pytest.raises(VolumeError, match="not whole numbers") as caught:
            read_labels(tmp_path / "c.nrrd")
        assert caught.value.hint
    write_image(np.stack([LABELS] * 2), oblique_geometry(), tmp_path / "d.nrrd")
    with pytest.raises(VolumeError, match="2 channels"):
        read_labels(tmp_path / "d.nrrd")


def test_empty_segments_and_default_segments(tmp_path):
    write_labels(np.zeros(SHAPE, np.uint8), oblique_geometry(), tmp_path / "a.seg.nrrd", SEGMENTS)
    labels, _, segments = read_labels(tmp_path / "a.seg.nrrd")
    assert segments == SEGMENTS and not labels.any()
    write_labels(LABELS, oblique_geometry(), tmp_path / "b.seg.nrrd")
    _, _, segments = read_labels(tmp_path / "b.seg.nrrd")
    assert [(s.value, s.name) for s in segments] == [(1, "Segment_1"), (2, "Segment_2"), (3, "Segment_3")]
    np.testing.assert_allclose([s.color for s in segments], [default_color(n) for n in (1, 2, 3)])
    write_labels(np.zeros(SHAPE, np.uint8), oblique_geometry(), tmp_path / "c.seg.nrrd")
    assert read_labels(tmp_path / "c.seg.nrrd")[2] == []


def test_values_without_a_segment_are_not_hidden(tmp_path):
    with pytest.raises(UsageError, match=r"values \[2, 3\] have no segment"):
        write_labels(LABELS, oblique_geometry(), tmp_path / "a.seg.nrrd", SEGMENTS[1:2])
    assert not list(tmp_path.iterdir())
    write_labels(LABELS, oblique_geometry(), tmp_path / "a.nrrd", SEGMENTS[1:2])
    assert [s.value for s in read_labels(tmp_path / "a.nrrd")[2]] == [1, 2, 3]


def write_layers(path, layers, geometry, stored):
    """Write a segmentation of several layers as Slicer does: (L, Z, Y, X), and (value, layer, name) for each."""
    image = geometry.to_sitk(layers)
    for index, (value, layer, name) in enumerate(stored):
        pairs = {"ID": name, "Name": name, "Color": "1 0.5 0", "LabelValue": value, "Layer": layer}
        for key, text in pairs.items():
            image.SetMetaData(f"Segment{index}_{key}", str(text))
    sitk.WriteImage(image, str(path), useCompression=True)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_overlapping_segments_become_exclusive(tmp_path, count):
    """Three or four layers of bytes are no RGB image."""
    layers = np.zeros((count, *SHAPE), np.uint8)
    layers[0, 2:10], layers[0, 12:14] = 1, 2
    layers[1, 8:13] = 1
    stored = [(1, 1, "top"), (1, 0, "low"), (2, 0, "other")]
    write_layers(tmp_path / "a.seg.nrrd", layers, oblique_geometry(), stored)
    labels, geometry, segments = read_labels(tmp_path / "a.seg.nrrd")
    assert geometry.matches(oblique_geometry())
    assert [(s.value, s.name) for s in segments] == [(1, "top"), (2, "low"), (3, "other")]
    assert segments[0].color == (1.0, 0.5, 0.0)
    assert labels[:, 0, 0].tolist() == [0, 0, *[2] * 6, *[1] * 5, 3, *[0] * 6]


@every_geometry
def test_a_cropped_segmentation_is_placed_onto_its_image(tmp_path, geometry):
    box = (slice(4, 16), slice(6, 27), slice(3, 39))
    assert not LABELS[:4].any() or np.count_nonzero(LABELS) > np.count_nonzero(LABELS[box])
    expected = np.zeros_like(LABELS)
    expected[box] = LABELS[box]
    write_labels(LABELS[box], geometry.crop(box), tmp_path / "a.seg.nrrd", SEGMENTS)
    labels, grid, _ = read_labels(tmp_path / "a.seg.nrrd")
    assert labels.shape == (12, 21, 36)
    np.testing.assert_array_equal(place(labels, grid, geometry), expected)


def test_files_with_poor_metadata_are_read(tmp_path):
    image = oblique_geometry().to_sitk((LABELS > 0).astype(np.uint8))
    image.SetMetaData("Segment0_ID", "Segment_1")
    image.SetMetaData("Segment0_Color", "red")
    image.SetMetaData("Segment0_LabelValue", "")
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    assert read_labels(tmp_path / "a.seg.nrrd")[2] == [SegmentInfo(1, "Segment_1", default_color(1))]


def test_old_and_damaged_segmentations_are_refused(tmp_path):
    image = oblique_geometry().to_sitk(LABELS)
    image.SetMetaData("Segmentation_Extent", "0 39 0 31 0 19")
    sitk.WriteImage(image, str(tmp_path / "old.seg.nrrd"))
    with pytest.raises(FileError, match=r"4.10 and before"):
        read_labels(tmp_path / "old.seg.nrrd")
    path = tmp_path / "cut.seg.nrrd"
    write_labels(LABELS, oblique_geometry(), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(FileError, match="damaged"):
        read_labels(path)
    with pytest.raises(FileError, match="There is no file"):
        read_labels(tmp_path / "none.seg.nrrd")


def test_default_colors_differ():
    colors = np.array([default_color(n) for n in range(1, 9)])
    distances = np.abs(colors[:, None] - colors[None]).sum(-1) + 9 * np.eye(8)
    assert distances.min() > 0.1 and colors.min() >= 0 and colors.max() <= 1


def test_geometry_of_the_image_is_told_to_slicer(tmp_path):
    geometry = Geometry(SHAPE, (3.0, 2.0, 0.5), (10.0, 20.0, 30.0))
    write_labels(LABELS, geometry, tmp_path / "a.seg.nrrd")
    written = sitk.ReadImage(str(tmp_path / "a.seg.nrrd")).GetMetaData("Segmentation_ConversionParameters")
    expected = "-0.5;0;0;-10;0;-2;0;-20;0;0;3;30;0;0;0;1;0;39;0;31;0;19;"
    assert written.replace("-0;", "0;") == f"Reference image geometry|{expected}|&"
