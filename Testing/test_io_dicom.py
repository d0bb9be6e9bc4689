import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import GEOMETRIES, flipped_geometry, oblique_geometry

from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_information, read_volume, write_image
from SparseSegLib.io.dicom.checks import check_series

SHAPE = (6, 16, 20)
UID = "1.2.826.0.1.3680043.2.1125.7"
ARRAY = np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)


def write_series(folder, geometry, array=ARRAY, uid=UID, description="Thorax", modality="CT", first=0, more=()):
    """Write one file a slice, named against the order of their positions; return the files in that order.

    ``more`` are further tags, or others than the usual.
    """
    folder.mkdir(exist_ok=True, parents=True)
    image = geometry.to_sitk(array)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = []
    for z in range(len(array)):
        one = image[:, :, z]
        position = geometry.index_to_physical(np.array([z, 0, 0]))
        matrix = np.array(geometry.direction).reshape(3, 3)
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.{z + 1}",
            "0008|0060": modality,
            "0008|103e": description,
            "0020|000d": f"{UID}.99",
            "0020|000e": uid,
            "0020|0013": str(z),
            "0020|0032": "\\".join(f"{p:.10g}" for p in position),
            "0020|0037": "\\".join(f"{d:.12g}" for d in (*matrix[:, 0], *matrix[:, 1])),
            "0028|1052": "-1024",
            "0028|1053": "1",
            **dict(more),
        }
        for key, value in tags.items():
            one.SetMetaData(key, value)
        files.append(folder / f"{uid[-3:]}_{first + len(array) - z:03d}.dcm")
        writer.SetFileName(str(files[-1]))
        writer.Execute(one)
    return files


def right_handed(geometry: Geometry) -> Geometry:
    """Return the grid with its z axis along the slice normal, as DICOM sorts slices."""
    matrix = np.array(geometry.direction).reshape(3, 3)
    matrix[:, 2] = np.cross(matrix[:, 0], matrix[:, 1])
    return dataclasses.replace(geometry, shape=SHAPE, direction=tuple(matrix.ravel()))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_series_is_read_in_place(tmp_path, name):
    geometry = right_handed(GEOMETRIES[name])
    write_series(tmp_path / "CT ü 日本", geometry)
    volume = read_volume(tmp_path / "CT ü 日本")
    assert volume.array.dtype == np.float32 and volume.name == "CT ü 日本"
    np.testing.assert_array_equal(volume.array[0], ARRAY)  # HU
    assert volume.geometry.matches(geometry, 1e-4)
    information = read_information(tmp_path / "CT ü 日本")
    assert information.shape == SHAPE and information.spacing == pytest.approx(geometry.spacing)


def test_left_handed_stacks_keep_every_voxel_in_place(tmp_path):
    geometry = dataclasses.replace(flipped_geometry(), shape=SHAPE)
    write_series(tmp_path, geometry)
    volume = read_volume(tmp_path)
    for index in [(0, 0, 0), (5, 3, 7)]:
        there = np.rint(volume.geometry.physical_to_index(geometry.index_to_physical(np.array(index)))).astype(int)
        assert volume.array[(0, *there)] == ARRAY[index]


def test_a_list_of_files_in_any_order_is_sorted(tmp_path):
    geometry = right_handed(oblique_geometry())
    files = write_series(tmp_path, geometry)
    volume = read_volume([files[i] for i in (3, 0, 5, 1, 4, 2)])
    assert volume.geometry.matches(geometry, 1e-4)
    np.testing.assert_array_equal(volume.array[0], ARRAY)  # HU


def test_other_files_are_ignored(tmp_path):
    write_series(tmp_path, right_handed(oblique_geometry()))
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "noise.bin").write_bytes(bytes(1000))
    (tmp_path / "._CT.dcm").write_bytes(b"\x00\x05\x16\x07" + bytes(100))  # as macOS adds
    (tmp_path / "folder").mkdir()
    assert read_volume(tmp_path).geometry.shape == SHAPE


def test_of_several_series_one_must_be_chosen(tmp_path):
    geometry = right_handed(oblique_geometry())
    write_series(tmp_path, geometry)
    write_series(tmp_path, geometry, ARRAY + 100, f"{UID}.5", "Arterial", first=100)
    with pytest.raises(FileError, match="2 DICOM series") as caught:
        read_volume(tmp_path)
    for words in (UID, f"{UID}.5", "CT Thorax", "CT Arterial", "6 files"):
        assert words in caught.value.hint
    chosen = read_volume(tmp_path, series_uid=f"{UID}.5")
    np.testing.assert_array_equal(chosen.array[0], ARRAY + 100)
    assert read_information(tmp_path, series_uid=UID).shape == SHAPE
    with pytest.raises(FileError, match=r"no DICOM series 1.2.3") as caught:
        read_volume(tmp_path, series_uid="1.2.3")
    assert UID in caught.value.hint


def test_segmentations_beside_the_scan_are_passed_over(tmp_path):
    geometry = right_handed(oblique_geometry())
    write_series(tmp_path, geometry)
    write_series(tmp_path, geometry, uid=f"{UID}.5", modality="SEG", first=100)
    assert read_volume(tmp_path).geometry.shape == SHAPE


@pytest.mark.parametrize("missing", [(2,), (3, 4)])
def test_missing_slices_are_named(tmp_path, missing):
    array = np.concatenate([ARRAY, ARRAY])
    geometry = dataclasses.replace(right_handed(oblique_geometry()), shape=array.shape)
    files = write_series(tmp_path, geometry, array)
    for index in missing:
        files[index].unlink()
    with pytest.raises(FileError, match=rf"misses {len(missing)} slice") as caught:
        read_volume(tmp_path)
    assert files[missing[0] - 1].name in caught.value.message and files[missing[-1] + 1].name in caught.value.message


def test_uneven_slices_are_named(tmp_path):
    geometry = right_handed(oblique_geometry())
    files = write_series(tmp_path, geometry)
    shifted = geometry.crop((slice(4, 5), slice(0, 16), slice(0, 20)))
    normal = np.array(geometry.direction)[2::3]
    shifted = dataclasses.replace(shifted, origin=tuple(shifted.origin + 0.4 * normal))
    other = write_series(tmp_path / "other", shifted, ARRAY[4:5], first=50)
    other[0].rename(files[4])
    with pytest.raises(FileError, match=r"uneven: 2.9 mm") as caught:
        read_volume(tmp_path)
    assert files[4].name in caught.value.message


def test_doubled_slices_tilted_stacks_and_odd_ones(tmp_path):
    geometry = right_handed(oblique_geometry())
    write_series(tmp_path / "double", geometry)
    write_series(tmp_path / "double", geometry, first=100)
    with pytest.raises(VolumeError, match="same place"):
        read_volume(tmp_path / "double")
    for z in range(6):  # a tilted gantry: every slice a little further sideways
        origin = geometry.index_to_physical(np.array([z, 0.5 * z, 0]))
        one = dataclasses.replace(geometry, shape=(1, 16, 20), origin=tuple(origin))
        write_series(tmp_path / "tilted", one, ARRAY[z : z + 1], first=z)
    with pytest.raises(FileError, match="tilted"):
        read_volume(tmp_path / "tilted")
    files = write_series(tmp_path / "odd", geometry)
    sagittal = Geometry((1, 16, 20), (1, 1, 1), (0, 0, 0), (0, 0, 1, 1, 0, 0, 0, 1, 0))
    write_series(tmp_path / "odd", sagittal, ARRAY[:1], first=100)
    with pytest.raises(FileError, match="differ in orientation"):
        read_volume(tmp_path / "odd")
    small = dataclasses.replace(geometry, shape=(1, 8, 20))
    write_series(tmp_path / "size", geometry)
    write_series(tmp_path / "size", small, ARRAY[:1, :8], first=100)
    with pytest.raises(FileError, match="differ in size"):
        read_volume(tmp_path / "size")
    with pytest.raises(VolumeError, match="2D"):
        read_volume(files[0])


@pytest.mark.parametrize("index", [0, 3, 5])
def test_a_truncated_slice_is_named(tmp_path, capfd, index):
    files = write_series(tmp_path, right_handed(oblique_geometry()))
    files[index].write_bytes(files[index].read_bytes()[:-300])
    with pytest.raises(FileError, match="damaged") as caught:
        read_volume(tmp_path)
    assert files[index].name in caught.value.message and caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_a_series_joins_other_volumes_as_a_channel(tmp_path):
    geometry = right_handed(oblique_geometry())
    write_series(tmp_path / "ct", geometry)
    write_image(np.ones(SHAPE, np.float32), geometry, tmp_path / "mr.nrrd")
    volume = read_volume([tmp_path / "ct", tmp_path / "mr.nrrd"])
    assert volume.channels == 2 and (volume.array[1] == 1).all()


def test_a_whole_ct_passes_the_checks(tmp_path):
    files = write_series(tmp_path, right_handed(oblique_geometry()))
    series = check_series(tmp_path)
    assert series.modality == "CT" and len(series.files) == len(files)


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ({"modality": "MR"}, VolumeError, r"is MR, not CT \(Thorax\)"),
        ({"more": {"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}}, VolumeError, "localizer"),
        ({"array": ARRAY[:2]}, VolumeError, "2 slice"),
    ],
)
def test_what_is_no_ct_is_told(tmp_path, what, error, words):
    geometry = right_handed(oblique_geometry())
    write_series(tmp_path, dataclasses.replace(geometry, shape=what.get("array", ARRAY).shape), **what)
    with pytest.raises(error, match=words) as caught:
        check_series(tmp_path)
    assert caught.value.hint


def test_mixed_and_damaged_scans_are_told(tmp_path):
    geometry = right_handed(oblique_geometry())
    files = write_series(tmp_path / "missing", geometry)
    files[2].unlink()
    with pytest.raises(FileError, match="misses 1 slice"):
        check_series(tmp_path / "missing")
    files = write_series(tmp_path / "patients", geometry, more={"0010|0020": "A"})
    other = write_series(tmp_path / "other", geometry, more={"0010|0020": "B"})
    other[3].replace(files[3])
    with pytest.raises(FileError, match="2 patients"):
        check_series(tmp_path / "patients")
    write_series(tmp_path / "series", geometry)
    write_series(tmp_path / "series", geometry, uid=f"{UID}.5", first=100)
    with pytest.raises(FileError, match="2 DICOM series"):
        check_series(tmp_path / "series")
    assert check_series(tmp_path / "series", series_uid=UID).uid == UID
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="no DICOM images"):
        check_series(tmp_path / "empty")
