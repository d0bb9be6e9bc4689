"""Folders of single slices as people have them: mixed, incomplete, badly named, damaged. Right, or refused in words."""

import os
import sys

import numpy as np
import pytest
from dicom_helpers import ARRAY, CAPTURES, GEOMETRY, enhanced, new_file, put_pixels, save_all, slices

from SparseSegLib.errors import DependencyError, FileError, VolumeError
from SparseSegLib.io import read_information, read_labels, read_volume, write_image
from SparseSegLib.io.dicom import find_series, open_series
from SparseSegLib.io.dicom.checks import check_series


def _change(index, **tags):
    def change(files):
        for name, value in tags.items():
            setattr(files[index], name, value)

    return change


def _drop(name, *indices):
    def change(files):
        for one in [files[index] for index in indices] or files:
            delattr(one, name)

    return change


def _table(files):
    files[0].ModalityLUTSequence = [new_file(CAPTURES)]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            _change(4, PixelSpacing=[1.6, 1.8]),
            FileError,
            "pixel spacing: 0.9 x 0.8 mm in IM0000.dcm and 1.8 x 1.6 .* IM0004",
        ),
        (_change(0, PixelSpacing=[1.6, 1.8]), FileError, "in IM0001.dcm and 1.8 x 1.6 mm in IM0000.dcm"),
        (_change(5, RescaleType="US"), FileError, "unit of their values: HU in IM0000.dcm and US in IM0005.dcm"),
        (_change(0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), FileError, r"localizer .* IM0000.dcm"),
        (_change(0, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), FileError, "orientation: IM0001.dcm and IM0000.dcm"),
        (_change(2, FrameOfReferenceUID="1.2.9"), FileError, "2 frames of reference: .*IM0002"),
        (_change(2, PatientID="8"), FileError, "2 patients"),
        (_change(2, RescaleSlope=0), FileError, "IM0002.dcm is damaged"),
        (_change(3, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), FileError, "IM0003.dcm is damaged"),
        (_table, VolumeError, "IM0000.dcm are scaled by a table"),
        (_drop("ImagePositionPatient"), FileError, r"The slices have no position \(ImagePositionPatient\)"),
        (_drop("ImagePositionPatient", 5), FileError, "IM0005.dcm has no position"),
        (_drop("ImageOrientationPatient"), FileError, "have no orientation"),
        (_drop("PixelSpacing"), FileError, "have no pixel spacing"),
        (_drop("PixelData", 5), FileError, "IM0005.dcm is damaged"),
    ],
)
def test_slices_that_do_not_make_one_scan_are_named(tmp_path, change, error, words):
    files = slices()
    change(files)
    save_all(files, tmp_path)
    for read in (read_volume, read_information, lambda path: check_series(path, "")):
        with pytest.raises(error, match=words) as caught:
            read(tmp_path)
        assert caught.value.hint


def test_each_slice_has_its_own_scaling(tmp_path):
    files = slices()
    for number, one in enumerate(files):
        one.RescaleSlope = 0.5 + number
    save_all(files, tmp_path)
    slopes = (0.5 + np.arange(6))[:, None, None]
    np.testing.assert_allclose(read_volume(tmp_path).array[0], ARRAY * slopes - 1024, rtol=1e-6)


def test_series_are_listed_and_chosen(tmp_path):
    save_all(slices(SeriesDescription="soft"), tmp_path)
    scout = slices(
        array=ARRAY[:1], SeriesInstanceUID="1.2.3.9", SeriesDescription="scout", ImageType=["A", "B", "LOCALIZER"]
    )
    scout[0].save_as(tmp_path / "SC1.dcm", enforce_file_format=True)
    enhanced(SeriesInstanceUID="1.2.3.7").save_as(tmp_path / "multi.dcm", enforce_file_format=True)
    assert [(one.uid, one.count, one.localizer) for one in find_series(tmp_path)] == [
        ("1.2.3.2", 6, False),
        ("1.2.3.7", 6, False),
        ("1.2.3.9", 1, True),
    ]
    with pytest.raises(FileError, match="3 DICOM series") as caught:
        read_volume(tmp_path)
    for words in ("1.2.3.2 (CT soft, 6 files)", "1 file with 6 slices", "scout, 1 file, a localizer"):
        assert words in caught.value.hint
    for uid in ("1.2.3.2", "1.2.3.7"):
        assert read_volume(tmp_path, series_uid=uid).geometry.matches(GEOMETRY)
        assert read_information(tmp_path, series_uid=uid).shape == ARRAY.shape
        assert read_labels(tmp_path, series_uid=uid)[1].matches(GEOMETRY)
    with pytest.raises(VolumeError, match="localizer"):
        check_series(tmp_path, series_uid="1.2.3.9")


def test_files_one_by_one(tmp_path):
    paths = save_all(slices(), tmp_path)
    assert read_volume(paths[::-1]).geometry.matches(GEOMETRY)
    with pytest.raises(VolumeError, match="2D") as caught:
        read_volume(paths[0])
    assert "folder" in caught.value.hint
    with pytest.raises(FileError, match="misses 1 slice"):
        read_volume([paths[0], *paths[2:]])
    other = save_all(slices(SeriesInstanceUID="1.2.3.9"), tmp_path / "other")
    with pytest.raises(FileError, match=r"2 DICOM series: IM0000.dcm and IM0003.dcm"):
        read_volume([*paths[:3], *other[3:]])
    assert open_series(paths[0]).uid == "1.2.3.2"


def test_copies_are_told_apart_from_volumes(tmp_path):
    paths = save_all(slices(), tmp_path)
    (tmp_path / "copy.dcm").write_bytes(paths[2].read_bytes())
    with pytest.raises(VolumeError, match=r"same place: IM0002.dcm and copy.dcm|same place: copy.dcm and") as caught:
        read_volume(tmp_path)
    assert "copies" in caught.value.hint


@pytest.mark.parametrize("left", [0, 50, 140, 300, 400, 700, -10])
@pytest.mark.parametrize("index", [0, 5])
def test_whatever_is_left_of_a_slice_it_is_missed(tmp_path, index, left):
    paths = save_all(slices(), tmp_path)
    paths[index].write_bytes(paths[index].read_bytes()[:left])
    with pytest.raises(FileError, match="damaged") as caught:
        read_volume(tmp_path)
    assert paths[index].name in caught.value.message


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names of letters only")
def test_names_that_are_no_text_are_read(tmp_path, capfd):
    save_all(slices(SeriesDescription="Sch\u00e4del"), tmp_path)
    for path in sorted(tmp_path.iterdir()):
        data = path.read_bytes()
        path.unlink()
        with open(os.fsencode(path.parent) + b"/\xfc" + os.fsencode(path.name), "wb") as stream:
            stream.write(data)
    assert read_volume(tmp_path).geometry.matches(GEOMETRY)
    (series,) = find_series(tmp_path)
    assert series.description.startswith("Sch") and series.description.encode()
    with open(os.fsencode(tmp_path) + b"/\xfcIM0005.dcm", "wb"):
        pass
    with pytest.raises(FileError, match="damaged") as caught:
        read_volume(tmp_path)
    assert caught.value.message.encode()
    assert capfd.readouterr() == ("", "")


def test_a_description_in_an_unknown_character_set_is_kept_as_far_as_it_goes(tmp_path, recwarn):
    paths = save_all(slices(SeriesDescription="Sch?del"), tmp_path)
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"Sch?del", b"Sch\xe4del"))
    assert find_series(tmp_path)[0].description.startswith("Sch")
    assert read_volume(tmp_path).geometry.matches(GEOMETRY)
    assert not recwarn.list


@pytest.mark.parametrize("compressed", [False, True])
def test_sizes_beyond_the_file_are_refused_before_memory_is_taken(tmp_path, compressed):
    made = enhanced()
    if compressed:
        made.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    made.Rows = made.Columns = 60000
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(FileError, match="damaged"):
        read_volume(tmp_path / "a.dcm")
    made = new_file(CAPTURES, "OT", PixelSpacing=[1, 1], SpacingBetweenSlices=1)
    put_pixels(made, np.zeros((4, 8, 8), np.uint8))
    made.NumberOfFrames = 2**31 - 1
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(FileError, match="damaged"):
        read_volume(tmp_path / "a.dcm")


def test_without_pydicom_all_else_is_read(tmp_path, monkeypatch):
    save_all(slices(), tmp_path / "ct")
    write_image(ARRAY, GEOMETRY, tmp_path / "a.nrrd")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert read_volume(tmp_path / "a.nrrd").geometry.matches(GEOMETRY)
    with pytest.raises(DependencyError, match="pydicom") as caught:
        read_volume(tmp_path / "ct")
    assert "pip install" in caught.value.hint


def test_other_formats_that_begin_like_dicom_are_left_alone(tmp_path):
    (tmp_path / "a.img").write_bytes(b"\x08\0\x05\0\x04\0\0\0" * 40)  # voxels
    assert open_series(tmp_path / "a.img") is None
    (tmp_path / "a.txt").write_text("hello")
    assert open_series(tmp_path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_that_lead_nowhere_are_missed_slices(tmp_path):
    paths = save_all(slices(), tmp_path)
    (tmp_path / "notes.txt").symlink_to(tmp_path / "nothing")
    assert read_volume(tmp_path).geometry.matches(GEOMETRY)
    paths[5].unlink()
    paths[5].symlink_to(tmp_path / "nothing")
    with pytest.raises(FileError, match=r"IM0005.dcm is damaged"):
        read_volume(tmp_path)
