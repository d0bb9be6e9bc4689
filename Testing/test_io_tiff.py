import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import SHAPE, blob, oblique_geometry

from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_information, read_labels, read_volume, write_image, write_labels

tifffile = pytest.importorskip("tifffile")

STACK = np.random.default_rng(0).integers(0, 1000, (6, 7, 8)).astype(np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int16, np.int32, np.float64])
@pytest.mark.parametrize("channels", [1, 2])
def test_voxels_and_spacing_survive(tmp_path, dtype, channels):
    array = np.random.default_rng(0).integers(0, 100, (channels, 6, 7, 8)).astype(dtype)
    geometry = Geometry.identity((6, 7, 8), (2.5, 0.31, 0.25))
    write_image(array, geometry, tmp_path / "a.tif")
    read = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.array, array)
    assert read.geometry.matches(geometry)
    information = read_information(tmp_path / "a.tif")
    assert information.shape == (6, 7, 8) and information.channels == channels
    assert information.spacing == pytest.approx(geometry.spacing)


def test_a_position_or_orientation_is_not_lost_silently(tmp_path):
    with pytest.raises(FileError, match="no place for the position") as caught:
        write_image(blob().volume.array, oblique_geometry(), tmp_path / "a.tif")
    assert ".nrrd" in caught.value.hint and not list(tmp_path.iterdir())


def test_imagej_spacing_in_micrometers(tmp_path):
    for unit in ("micron", "um", "\\u00B5m"):
        metadata = {"spacing": 0.5, "unit": unit, "axes": "ZYX"}
        tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(5, 4), metadata=metadata)
        assert read_volume(tmp_path / "a.tif").geometry.spacing == pytest.approx((0.0005, 0.00025, 0.0002))


def test_ome_spacing_in_its_units(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 200, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.4}
    metadata |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 0.002, "PhysicalSizeZUnit": "mm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=metadata)
    assert read_volume(tmp_path / "a.ome.tif").geometry.spacing == pytest.approx((0.002, 0.0004, 0.0002))


def test_plain_stacks_have_1_mm(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", resolution=(72, 72), metadata=None)
    read = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.array[0], STACK)
    assert read.geometry == Geometry.identity(STACK.shape)


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "CYX"])
def test_channel_order(tmp_path, axes):
    array = np.random.default_rng(0).integers(0, 9, (2, 6, 7, 8)).astype(np.uint16)
    stored = {"ZCYX": array.swapaxes(0, 1), "CZYX": array, "CYX": array[:, 0]}[axes]
    tifffile.imwrite(tmp_path / "a.ome.tif", stored, photometric="minisblack", metadata={"axes": axes})
    if axes == "CYX":
        with pytest.raises(VolumeError, match="2D"):
            read_volume(tmp_path / "a.ome.tif")
    else:
        np.testing.assert_array_equal(read_volume(tmp_path / "a.ome.tif").array, array)


@pytest.mark.parametrize("compressor", ["LZW", "Deflate", "PackBits"])
def test_compressed_stacks_need_no_further_package(tmp_path, compressor):
    sitk.WriteImage(sitk.GetImageFromArray(STACK), str(tmp_path / "a.tif"), useCompression=True, compressor=compressor)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], STACK)


def test_time_series_and_colors_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "t.tif", np.zeros((3, 4, 5, 6), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((4, 5, 6, 3), np.uint8), photometric="rgb")
    for name, words in (("t.tif", "time series"), ("c.tif", "color")):
        for read in (read_volume, read_information):
            with pytest.raises(VolumeError, match=words):
                read(tmp_path / name)


@pytest.mark.parametrize("layout", ["imagej", "ome", "plain"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_stacks_are_refused_quietly(tmp_path, capfd, layout, kept):
    path = tmp_path / "a.tif"
    array = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.uint16)
    tifffile.imwrite(path, array, imagej=layout == "imagej", ome=layout == "ome")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(FileError, match="damaged"):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_slices_are_stacked_in_natural_order(tmp_path, suffix):
    array = STACK.astype(np.uint8)
    array = np.concatenate([array, array + 1])
    for index, image in enumerate(array):
        path = tmp_path / f"slice {index}{suffix}"
        _write_2d(path, image)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / f"._slice 0{suffix}").write_text("macOS leaves these")
    for source in (tmp_path, [tmp_path / f"slice {i}{suffix}" for i in range(12)]):
        np.testing.assert_array_equal(read_volume(source).array[0], array)
    assert read_information(tmp_path).shape == array.shape
    reverse = [tmp_path / f"slice {i}{suffix}" for i in range(11, -1, -1)]
    np.testing.assert_array_equal(read_volume(reverse).array[0], array[::-1])
    labels, _, _ = read_labels(tmp_path)
    np.testing.assert_array_equal(labels, array)


def _write_2d(path, image):
    if path.suffix == ".tif":
        tifffile.imwrite(path, image)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(image), str(path))


def test_slices_that_do_not_belong_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "1.tif", STACK[0])
    with pytest.raises(VolumeError, match="only one slice"):
        read_volume(tmp_path)
    tifffile.imwrite(tmp_path / "2.tif", STACK[0, :, :5])
    with pytest.raises(FileError, match=r"2.tif differ in size"):
        read_volume(tmp_path)
    tifffile.imwrite(tmp_path / "1.tif", STACK)
    with pytest.raises(VolumeError, match="is a volume, not a slice"):
        read_volume(tmp_path)


@pytest.mark.parametrize("highest", [3, 255, 3000, 100000])
def test_labels_survive(tmp_path, highest):
    labels = np.zeros((6, 7, 8), np.int64)
    labels[2:4, 2:5, 2:5], labels[5] = 1, highest
    write_labels(labels, Geometry.identity(labels.shape, (2, 1, 1)), tmp_path / "a.tif")
    read, geometry, segments = read_labels(tmp_path / "a.tif")
    np.testing.assert_array_equal(read, labels)
    assert geometry.spacing == (2, 1, 1) and [s.value for s in segments] == [1, highest]
