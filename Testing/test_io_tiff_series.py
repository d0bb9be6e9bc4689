"""TIFF files with more than one image, or with less than they declare."""

import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from SparseSegLib.errors import FileError, SparseSegError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_information, read_labels, read_volume, write_image

tifffile = pytest.importorskip("tifffile")

STACK = np.random.default_rng(0).integers(0, 1000, (6, 24, 32)).astype(np.uint16)
GRAY = {"photometric": "minisblack"}


def refused(path, error, words):
    for read in (read_volume, read_information, read_labels):
        with pytest.raises(error, match=words) as caught:
            read(path)
        assert caught.value.hint and str(path) in caught.value.message


@pytest.mark.parametrize("second", [STACK[:4, :20], STACK[:4], STACK[:, :, :30], STACK.astype(np.float32)])
@pytest.mark.parametrize("ome", [False, True])
def test_several_stacks_are_named_and_refused(tmp_path, second, ome):
    path = tmp_path / ("a.ome.tif" if ome else "a.tif")
    with tifffile.TiffWriter(path, ome=ome) as file:
        file.write(STACK, **GRAY)
        file.write(second, **GRAY)
    refused(path, VolumeError, "has 2 images: 32 × 24 × 6")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("marked", [True, False])
def test_a_thumbnail_is_passed_over(tmp_path, first, marked):
    small = STACK[0, ::4, ::4] if not marked else STACK[0, :5, ::2]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for thumbnail in (first, not first):
            if thumbnail:
                file.write(small, metadata=None, subfiletype=int(marked), **GRAY)
            else:
                file.write(STACK, metadata=None, **GRAY)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], STACK)
    assert read_information(tmp_path / "a.tif").shape == STACK.shape


@pytest.mark.parametrize("sub", [True, False])
def test_the_full_resolution_of_a_pyramid_is_taken(tmp_path, sub):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=sub) as file:
        more = {"subifds": 2, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5}} if sub else {"metadata": None}
        file.write(STACK, **more, **GRAY)
        for factor in (2, 4):
            file.write(STACK[:, ::factor, ::factor], subfiletype=1 if sub else 0, metadata=None, **GRAY)
    volume = read_volume(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(volume.array[0], STACK)
    assert volume.geometry.spacing[2] == (0.0005 if sub else 1)


def test_an_image_of_another_kind_beside_a_stack_is_not_passed_over(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(STACK[0, :20, :11], metadata=None, **GRAY)
        file.write(STACK, metadata=None, **GRAY)
    refused(tmp_path / "a.tif", VolumeError, "has 2 images")


def test_slices_tagged_as_channels_are_explained(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(VolumeError, match="2D image of 6 channels") as caught:
        read_volume(tmp_path / "a.tif")
    assert "slices 6" in caught.value.hint


def test_pages_that_imagej_does_not_tell_of_are_not_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for index, page in enumerate(STACK):
            text = "ImageJ=1.54f\nimages=4\nslices=4\n" if index == 0 else None
            file.write(page, metadata=None, description=text, contiguous=False, **GRAY)
    refused(tmp_path / "a.tif", VolumeError, "has 6 pages, but ImageJ's description tells of 4")


def ome(tmp_path, change):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX"}, **GRAY)
    with tifffile.TiffFile(path) as file:
        text = file.pages[0].description
    tifffile.imwrite(path, STACK, description=change(text).encode(), metadata=None, **GRAY)
    return path


def test_xml_that_defines_entities_is_refused(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    path = ome(tmp_path, lambda text: text.replace("?>", f"?>{bomb}", 1))
    refused(path, FileError, "defines entities")


def test_an_image_in_several_files_is_refused(tmp_path):
    there = '<TiffData IFD="0" PlaneCount="3"><UUID FileName="{}">urn:uuid:{}</UUID></TiffData>'
    both = there.format("b.ome.tif", "1" * 8) + there.format("../c.ome.tif", "2" * 8)
    path = ome(tmp_path, lambda text: text.replace('<TiffData IFD="0" PlaneCount="6"/>', both))
    refused(path, FileError, "tells of other files")


def test_missing_pages_are_not_taken_for_zeros(tmp_path):
    path = ome(
        tmp_path, lambda text: text.replace('SizeZ="6"', 'SizeZ="60"').replace('PlaneCount="6"', 'PlaneCount="3"')
    )
    with pytest.raises(SparseSegError):
        read_volume(path)


def test_a_few_bytes_that_declare_gigabytes_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    for compression in (None, "zlib"):
        tifffile.imwrite(path, STACK, metadata=None, compression=compression, rowsperstrip=24, **GRAY)
        with tifffile.TiffFile(path, mode="r+") as file:
            for page in file.pages:
                page.tags["ImageWidth"].overwrite(60000)
                page.tags["ImageLength"].overwrite(60000)
                page.tags["RowsPerStrip"].overwrite(60000)
        refused(path, FileError, "damaged")


@pytest.mark.parametrize(
    "error", [zlib.error("x"), ZeroDivisionError(), AssertionError(), RecursionError(), OverflowError()]
)
def test_whatever_a_decoder_meets_is_damage(tmp_path, monkeypatch, error):
    def fail(self, *arguments, **options):
        raise error

    tifffile.imwrite(tmp_path / "a.tif", STACK, **GRAY)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", fail)
    with pytest.raises(FileError, match="damaged"):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.int32])
@pytest.mark.parametrize("shape", [(3, 5, 3), (5, 4, 4), (2, 3, 3)])
def test_narrow_volumes_are_no_colors(tmp_path, dtype, shape):
    for channels in (1, 3):
        array = np.random.default_rng(0).integers(0, 100, (channels, *shape)).astype(dtype)
        write_image(array, Geometry.identity(shape), tmp_path / "a.tif")
        np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array, array)


def test_big_tiff_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, bigtiff=True, **GRAY)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], STACK)


def test_a_compression_that_only_itk_knows_needs_one_image(tmp_path):
    image = sitk.GetImageFromArray(STACK)
    sitk.WriteImage(image, str(tmp_path / "a.tif"), useCompression=True, compressor="LZW")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], STACK)


def test_types_that_tiff_lacks(tmp_path):
    grid = Geometry.identity(STACK.shape)
    write_image(STACK.astype(np.float16), grid, tmp_path / "a.tif")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], STACK.astype(np.float16))
    for dtype in (np.int64, np.uint64):
        with pytest.raises(FileError, match="no integers of 64 bits"):
            write_image(STACK.astype(dtype), grid, tmp_path / "b.tif")
    assert not (tmp_path / "b.tif").exists()
