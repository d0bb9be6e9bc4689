"""Multi-frame DICOM: each frame in its place and with its own scaling, or a refusal that says why not."""

import dataclasses
import struct

import numpy as np
import pytest
from dicom_helpers import (
    ARRAY,
    CAPTURES,
    ENHANCED_MR,
    GEOMETRY,
    NUCLEAR,
    enhanced,
    item,
    new_file,
    per_frame,
    put_pixels,
    save_all,
    slices,
)
from phantoms import oblique_geometry
from test_io_dicom import right_handed

from SparseSegLib.errors import FileError, SparseSegError, VolumeError
from SparseSegLib.io import read_information, read_volume
from SparseSegLib.io.dicom.codestreams import codestream_size

ORDER = [3, 0, 5, 1, 4, 2]


def _write(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("oblique", [False, True])
def test_frames_are_sorted_and_scaled_each_by_its_own_slope(tmp_path, oblique):
    geometry = dataclasses.replace(right_handed(oblique_geometry()), shape=ARRAY.shape) if oblique else GEOMETRY
    slopes = [0.5 + 0.25 * number for number in range(6)]
    path = _write(enhanced(ARRAY[ORDER], geometry, ORDER, [slopes[z] for z in ORDER]), tmp_path / "a.dcm")
    volume = read_volume(path)
    assert volume.geometry.matches(geometry, 1e-3)
    np.testing.assert_allclose(volume.array[0], ARRAY * np.array(slopes)[:, None, None] - 1024)
    information = read_information(path)
    assert information.shape == ARRAY.shape and information.spacing == pytest.approx(geometry.spacing, 1e-5)
    assert read_volume(tmp_path).geometry.matches(geometry, 1e-3)  # as a folder with one file


def test_values_without_a_rescale_take_the_real_world_scale(tmp_path):
    made = enhanced(sop_class=ENHANCED_MR)
    for one in made.PerFrameFunctionalGroupsSequence:
        del one.PixelValueTransformationSequence
        one.RealWorldValueMappingSequence = [item(RealWorldValueSlope=2.0, RealWorldValueIntercept=1.0)]
    np.testing.assert_allclose(read_volume(_write(made, tmp_path / "a.dcm")).array[0], 2.0 * ARRAY + 1)


def test_a_scan_in_several_multi_frame_files_is_one_volume(tmp_path):
    _write(enhanced(ARRAY[3:], heights=[3, 4, 5]), tmp_path / "a.dcm")
    _write(enhanced(ARRAY[:3], heights=[0, 1, 2]), tmp_path / "b.dcm")
    volume = read_volume(tmp_path)
    assert volume.geometry.matches(GEOMETRY)
    np.testing.assert_array_equal(volume.array[0], ARRAY - 1024.0)


def _tilted(made):
    for z, one in enumerate(made.PerFrameFunctionalGroupsSequence):
        one.PlanePositionSequence[0].ImagePositionPatient = [0, 0.7 * z, 2.5 * z]


def _without(group):
    def change(made):
        for one in (*made.PerFrameFunctionalGroupsSequence, *made.SharedFunctionalGroupsSequence):
            if group in one:
                delattr(one, group)

    return change


def _each(group, name, values):
    return lambda made: per_frame(made, group, name, values)


@pytest.mark.parametrize(
    ("heights", "change", "error", "words"),
    [
        ([0, 1, 4, 5, 6, 7], None, FileError, "misses 2 slice.* frame 2 of a.dcm and frame 3"),
        ([0, 1, 2, 3, 4, 5.4], None, FileError, "uneven: 3.5 mm between frame 5"),
        (None, _tilted, FileError, "tilted"),
        ([0, 0, 1, 1, 2, 2], None, VolumeError, "same place"),
        (
            [0, 1, 2, 0, 1, 2],
            _each("FrameContentSequence", "TemporalPositionIndex", [1] * 3 + [2] * 3),
            VolumeError,
            "2 time",
        ),
        (None, _each("FrameContentSequence", "TemporalPositionIndex", [1] * 3 + [2] * 3), VolumeError, "2 time points"),
        (None, _each("FrameContentSequence", "StackID", ["1"] * 3 + ["2"] * 3), VolumeError, "2 stacks"),
        (None, _each("MREchoSequence", "EffectiveEchoTime", [5.0, 9.0] * 3), VolumeError, r"2 echo times \(5.0, 9.0\)"),
        (None, _each("MRDiffusionSequence", "DiffusionBValue", [0.0, 800.0] * 3), VolumeError, "2 diffusion weights"),
        (None, _without("PlanePositionSequence"), FileError, "have no position"),
        (None, _without("PlaneOrientationSequence"), FileError, "have no orientation"),
        (None, _without("PixelMeasuresSequence"), FileError, "have no pixel spacing"),
        (
            None,
            _each("PixelMeasuresSequence", "PixelSpacing", [[1, 1]] * 5 + [[2, 2]]),
            FileError,
            "differ in pixel sp",
        ),
        (
            None,
            _each(
                "PlaneOrientationSequence", "ImageOrientationPatient", [[0, 1, 0, 0, 0, 1]] + [[1, 0, 0, 0, 1, 0]] * 5
            ),
            FileError,
            "differ in orientation: frame 2 of a.dcm and frame 1 of a.dcm",
        ),
        (
            None,
            _each("PixelValueTransformationSequence", "RescaleType", ["HU"] * 5 + ["US"]),
            FileError,
            "differ in the unit of their values",
        ),
    ],
)
def test_what_is_no_even_volume_is_refused_in_words(tmp_path, heights, change, error, words):
    made = enhanced(heights=heights)
    if change:
        change(made)
    path = _write(made, tmp_path / "a.dcm")
    for read in (read_volume, read_information):
        with pytest.raises(error) as caught:
            read(path)
        assert caught.match(words) and caught.value.hint


def test_times_that_each_frame_has_for_itself_are_no_time_points(tmp_path):
    made = enhanced()
    per_frame(made, "FrameContentSequence", "TemporalPositionIndex", [1, 2, 3, 4, 5, 6])
    assert read_volume(_write(made, tmp_path / "a.dcm")).geometry.matches(GEOMETRY)


@pytest.mark.parametrize(
    ("tags", "error", "words"),
    [
        ({}, FileError, "does not say the distance between its slices"),
        ({"SliceThickness": 2.5, "PixelSpacing": [0.8, 0.9]}, FileError, "a slice thickness is none"),
        ({"SpacingBetweenSlices": 2.5}, FileError, "does not say the pixel spacing"),
        (
            {"SpacingBetweenSlices": 2.5, "PixelSpacing": [1, 1], "FrameTime": 40, "FrameIncrementPointer": 0x00181063},
            VolumeError,
            "moments",
        ),
        ({"SpacingBetweenSlices": 2.5, "PixelSpacing": [1, 1], "NumberOfPhases": 2}, VolumeError, "moments or views"),
    ],
)
def test_multi_frame_without_groups_needs_a_slice_distance(tmp_path, tags, error, words):
    made = new_file(CAPTURES, "OT", **tags)
    put_pixels(made, ARRAY)
    with pytest.raises(error, match=words) as caught:
        read_volume(_write(made, tmp_path / "a.dcm"))
    assert caught.value.hint


@pytest.mark.parametrize("sign", [1, -1])
def test_nuclear_medicine_says_its_slice_distance_once_for_all(tmp_path, sign):
    made = new_file(
        NUCLEAR, "NM", PixelSpacing=[0.8, 0.9], SpacingBetweenSlices=sign * 2.5, FrameIncrementPointer=0x00540080
    )
    first = [-12.5, 7.25, 100.0 if sign > 0 else 112.5]
    detector = item(ImagePositionPatient=first, ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    made.DetectorInformationSequence = [detector]
    put_pixels(made, ARRAY)
    volume = read_volume(_write(made, tmp_path / "a.dcm"))
    assert volume.geometry.matches(GEOMETRY)
    np.testing.assert_array_equal(volume.array[0], ARRAY[::sign])


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLSLossless"])
def test_compressed_frames_and_slices_are_decoded(tmp_path, syntax):
    from pydicom import uid

    made = enhanced()
    made.compress(getattr(uid, syntax), generate_instance_uid=False)
    np.testing.assert_array_equal(read_volume(_write(made, tmp_path / "a.dcm")).array[0], ARRAY - 1024.0)
    files = slices(array=ARRAY.astype(np.int16) - 500, PixelRepresentation=1)
    for one in files:
        one.compress(getattr(uid, syntax), generate_instance_uid=False)
    save_all(files, tmp_path / "slices")
    np.testing.assert_array_equal(read_volume(tmp_path / "slices").array[0], ARRAY - 1524.0)


def test_only_the_bits_that_are_stored_count(tmp_path):
    values = (ARRAY & 0xFFF).astype(np.int32) - 2048  # 12 bits with sign, graphics above
    stored = (values.astype(np.uint16) & 0xFFF) | 0x5000
    files = slices(array=stored.astype(np.uint16), BitsStored=12, HighBit=11, PixelRepresentation=1)
    save_all(files, tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path).array[0], values - 1024.0)


def test_other_encodings_are_read(tmp_path):
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

    for number, syntax in enumerate((ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)):
        made = enhanced()
        made.file_meta.TransferSyntaxUID = syntax
        path = _write(made, tmp_path / f"{number}.dcm")
        np.testing.assert_array_equal(read_volume(path).array[0], ARRAY - 1024.0)
    made = enhanced(ARRAY.byteswap())  # big-endian
    made.set_original_encoding(False, False)
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    made.save_as(tmp_path / "big.dcm", implicit_vr=False, little_endian=False)
    np.testing.assert_array_equal(read_volume(tmp_path / "big.dcm").array[0], ARRAY - 1024.0)
    plain = tmp_path / "bare"  # no preamble, no meta information, no suffix
    made = enhanced()
    del made.file_meta, made.preamble
    made.save_as(plain, implicit_vr=True, little_endian=True, enforce_file_format=False)
    np.testing.assert_array_equal(read_volume(plain).array[0], ARRAY - 1024.0)


def test_legacy_converted_scans_are_read(tmp_path):
    legacy = pytest.importorskip("highdicom.legacy")
    files = slices(PatientName="", Manufacturer="Maker")
    for number, one in enumerate(files, start=1):
        one.InstanceNumber, one.ReferringPhysicianName, one.ImageType = number, "", ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.RescaleSlope = number
    made = legacy.LegacyConvertedEnhancedCTImage([files[z] for z in ORDER], "1.2.3.5", 1, "1.2.3.6", 1)
    volume = read_volume(_write(made, tmp_path / "a.dcm"))
    assert volume.geometry.matches(GEOMETRY)
    np.testing.assert_array_equal(volume.array[0], ARRAY * np.arange(1.0, 7)[:, None, None] - 1024)


def test_color_is_refused(tmp_path):
    made = new_file(CAPTURES, "OT", PixelSpacing=[1, 1], SpacingBetweenSlices=1)
    put_pixels(made, np.zeros((4, 8, 8), np.uint8))
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.PixelData = bytes(3 * 256)
    with pytest.raises(SparseSegError, match="color"):
        read_volume(_write(made, tmp_path / "a.dcm"))


def test_a_compressed_frame_of_another_size_than_it_says_is_refused(tmp_path):
    from pydicom.encaps import generate_frames

    made = enhanced()
    made.compress("1.2.840.10008.1.2.4.80", generate_instance_uid=False)
    frame = next(generate_frames(made.PixelData, number_of_frames=6))
    assert codestream_size(frame) == (*ARRAY.shape[1:], 1)
    assert codestream_size(b"RLE") is codestream_size(frame[:8]) is None
    jpeg_2000 = b"\xff\x4f\xff\x51" + bytes(4) + struct.pack(">8L", 12, 9, 2, 1, 1, 1, 0, 0) + struct.pack(">H", 3)
    assert codestream_size(jpeg_2000) == (8, 10, 3)
    place = frame.find(b"\xff\xf7") + 5
    made.PixelData = made.PixelData.replace(frame[place : place + 4], struct.pack(">HH", 7, 9000))
    with pytest.raises(FileError, match=r"a\.dcm"):
        read_volume(_write(made, tmp_path / "a.dcm"))
