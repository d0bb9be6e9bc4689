import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import GEOMETRIES, SHAPE, blob, flipped_geometry, oblique_geometry

from SparseSegLib.errors import FileError, GeometryError, ResourceError, UsageError, VolumeError
from SparseSegLib.image import Geometry, check_volume
from SparseSegLib.io import read_information, read_volume, volume_name, write_image

SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_geometry_and_voxels_survive(tmp_path, suffix, geometry):
    volume = blob(geometry).volume
    path = tmp_path / f"image{suffix}"
    write_image(volume.array, geometry, path)
    read = read_volume(path)
    assert read.array.dtype == np.float32 and read.name == "image"
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.geometry.matches(geometry, 1e-4)
    np.testing.assert_allclose(
        read.geometry.index_to_physical(np.array([19, 31, 39])),
        geometry.index_to_physical(np.array([19, 31, 39])),
        atol=1e-4,
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_channels_survive(tmp_path, suffix):
    array = np.random.default_rng(0).integers(0, 1000, (3, *SHAPE)).astype(np.int16)
    write_image(array, oblique_geometry(), tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").array, array)


def test_mhd_with_its_raw_file_is_read(tmp_path):
    volume = blob(flipped_geometry()).volume
    sitk.WriteImage(volume.geometry.to_sitk(volume.array[0]), str(tmp_path / "a.mhd"))
    read = read_volume(tmp_path / "a.mhd")
    assert read.geometry == volume.geometry
    np.testing.assert_array_equal(read.array, volume.array)
    (tmp_path / "a.raw").unlink()
    with pytest.raises(FileError):
        read_volume(tmp_path / "a.mhd")


@pytest.mark.parametrize("name", ["with space", "Kürbis ß", "日本語", "mixed ü 日本/inner folder"])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".tif"])
def test_any_path_works(tmp_path, name, suffix):
    path = tmp_path / name / f"{name.split('/')[0]}.v1{suffix}"
    path.parent.mkdir(parents=True)
    volume = blob().volume
    write_image(volume.array, volume.geometry, str(path))
    read = read_volume(str(path))
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.name == f"{name.split('/')[0]}.v1"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_further_channels_are_resampled_to_the_first(tmp_path):
    first, second = oblique_geometry(), oblique_geometry().with_spacing((1.25, 0.8, 0.7))
    ramp = (np.arange(40) * np.ones(second.shape)).astype(np.float32) + 5
    write_image(blob(first).volume.array, first, tmp_path / "a.nrrd")
    write_image(ramp, second, tmp_path / "b.nii.gz")
    volume = read_volume([tmp_path / "a.nrrd", tmp_path / "b.nii.gz"])
    assert volume.channels == 2 and volume.name == "a" and volume.geometry.matches(first, 1e-9)
    np.testing.assert_allclose(volume.array[1], (np.arange(40) + 5) * np.ones(SHAPE), atol=1e-3)


def test_channels_outside_the_field_of_view_get_the_lowest_value(tmp_path):
    geometry = oblique_geometry()
    write_image(blob(geometry).volume.array, geometry, tmp_path / "a.nrrd")
    half = geometry.crop((slice(0, 10), slice(0, 32), slice(0, 40)))
    array = np.full(half.shape, -500, np.int16)
    array[0] = -1000
    write_image(array, half, tmp_path / "b.nrrd")
    volume = read_volume([tmp_path / "a.nrrd", tmp_path / "b.nrrd"])
    assert (volume.array[1, 1:10] == -500).all() and (volume.array[1, 11:] == -1000).all()


def test_channels_that_do_not_overlap_are_refused(tmp_path):
    write_image(blob().volume.array, Geometry.identity(SHAPE), tmp_path / "a.nrrd")
    write_image(blob().volume.array, Geometry(SHAPE, (1, 1, 1), (500, 0, 0)), tmp_path / "b.nrrd")
    with pytest.raises(GeometryError, match="do not overlap"):
        read_volume([tmp_path / "a.nrrd", tmp_path / "b.nrrd"])


def test_a_missing_channel_is_named(tmp_path):
    write_image(blob().volume.array, Geometry.identity(SHAPE), tmp_path / "a.nrrd")
    with pytest.raises(FileError, match=r"There is no file .*flair.nrrd"):
        read_volume([tmp_path / "a.nrrd", tmp_path / "flair.nrrd"])
    with pytest.raises(FileError):
        read_volume([])


@pytest.mark.parametrize(
    ("image", "suffix", "words"),
    [
        (sitk.Image([8, 9, 10], sitk.sitkVectorUInt8, 3), ".nrrd", "color"),
        (sitk.Image([8, 9, 10], sitk.sitkVectorUInt8, 4), ".mha", "color"),
        (sitk.Image([8, 9, 10], sitk.sitkVectorUInt8, 3), ".tif", "color"),
        (sitk.Image([8, 9, 10, 4], sitk.sitkInt16), ".nii.gz", "time series"),
        (sitk.Image([8, 9, 10, 4], sitk.sitkInt16), ".nrrd", "time series"),
        (sitk.Image([8, 9, 10], sitk.sitkComplexFloat32), ".nii.gz", "complex"),
        (sitk.Image([8, 9], sitk.sitkInt16), ".nrrd", "2D"),
        (sitk.Image([8, 9, 1], sitk.sitkInt16), ".nii.gz", "2D"),
        (sitk.Image([8, 9], sitk.sitkUInt8), ".png", "2D"),
        (sitk.Image([8, 9], sitk.sitkUInt8), ".tif", "2D"),
    ],
)
def test_images_that_are_no_volumes_are_refused_with_a_hint(tmp_path, image, suffix, words):
    path = tmp_path / f"image{suffix}"
    sitk.WriteImage(image, str(path))
    with pytest.raises(VolumeError, match=words) as caught:
        read_volume(path)
    assert str(path) in caught.value.message and caught.value.hint


def test_a_slicer_sequence_is_a_time_series_not_channels(tmp_path):
    image = sitk.Image([8, 9, 10], sitk.sitkVectorInt16, 5)
    sitk.WriteImage(image, str(tmp_path / "a.seq.nrrd"))
    image.SetMetaData("axis 0 index type", "numeric")
    sitk.WriteImage(image, str(tmp_path / "b.nrrd"))
    for name in ("a.seq.nrrd", "b.nrrd"):
        with pytest.raises(VolumeError, match="time series"):
            read_volume(tmp_path / name)


def test_4d_with_one_frame_is_a_volume(tmp_path):
    array = np.random.default_rng(0).random((1, 6, 7, 8)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), str(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, array)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha", ".tif"])
@pytest.mark.parametrize("kept", [0.3, 0.66, 0.95])
def test_truncated_files_are_refused_quietly(tmp_path, capfd, suffix, compressed, kept):
    array = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16)
    path = tmp_path / f"Lunge ü{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), useCompression=compressed)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(FileError, match=r"damaged|no TIFF") as caught:
        read_volume(path)
    assert str(path) in caught.value.message and caught.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha", ".tif", ".dcm", ".xyz"])
@pytest.mark.parametrize("content", [b"", b"hello, this is no image", bytes(2000)])
def test_foreign_files_are_refused_quietly(tmp_path, capfd, suffix, content):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    for read in (read_volume, read_information):
        with pytest.raises(FileError) as caught:
            read(path)
        assert str(path) in caught.value.message and caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_useless_folders(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        read_volume(tmp_path / "nothing.nrrd")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "readme.txt").write_text("hello")
    for folder in ("empty", "texts"):
        for read in (read_volume, read_information):
            with pytest.raises(FileError, match="no DICOM series and no slices"):
                read(tmp_path / folder)


def test_nan_is_read_and_then_refused(tmp_path):
    array = blob().volume.array.copy()
    array[0, 1, 2, 3] = np.nan
    write_image(array, Geometry.identity(SHAPE), tmp_path / "a.nrrd")
    with pytest.raises(VolumeError, match='"a" has 1 voxels that are not a number'):
        check_volume(read_volume(tmp_path / "a.nrrd"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_information_without_reading_voxels(tmp_path, suffix):
    geometry = oblique_geometry()
    write_image(np.zeros((2, *SHAPE), np.int16), geometry, tmp_path / f"a{suffix}")
    information = read_information(tmp_path / f"a{suffix}")
    assert information.shape == SHAPE and information.channels == 2
    assert information.spacing == pytest.approx(geometry.spacing)
    assert information.memory == 4 * 2 * 20 * 32 * 40 and "16-bit" in information.voxel_type


def test_information_does_not_need_the_voxels(tmp_path):
    write_image(blob().volume.array, Geometry.identity(SHAPE), tmp_path / "a.nrrd")
    data = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(data[: len(data) // 4])
    assert read_information(tmp_path / "a.nrrd").shape == SHAPE


def test_a_volume_larger_than_memory_says_what_it_needs(tmp_path, monkeypatch):
    write_image(np.zeros((20, 100, 100), np.int16), Geometry.identity((20, 100, 100)), tmp_path / "huge.nrrd")
    monkeypatch.setattr("SparseSegLib.io.declared.physical_memory", lambda: 10**5)
    assert read_information(tmp_path / "huge.nrrd").memory == 800_000
    with pytest.raises(ResourceError, match=r"it needs 0.000745 GiB") as caught:
        read_volume(tmp_path / "huge.nrrd")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.hdr", "a.png", "a.xyz", "a"])
def test_formats_that_cannot_be_written(tmp_path, name):
    with pytest.raises(UsageError, match="Cannot write") as caught:
        write_image(blob().volume.array, Geometry.identity(SHAPE), tmp_path / name)
    assert "nrrd" in caught.value.hint or "mha" in caught.value.hint or "nii" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b c.nii.gz", "b c"), ("x.seg.nrrd", "x"), ("x.v2.nrrd", "x.v2"), ("x.OME.tif", "x"), ("folder", "folder")],
)
def test_volume_name(name, expected):
    assert volume_name(name) == expected


def test_a_link_is_called_by_its_own_name(tmp_path):
    (tmp_path / "3f9a.nrrd").touch()
    try:
        (tmp_path / "patient.nrrd").symlink_to(tmp_path / "3f9a.nrrd")
    except OSError:
        pytest.skip("links are not allowed here")
    assert volume_name(tmp_path / "patient.nrrd") == "patient"
