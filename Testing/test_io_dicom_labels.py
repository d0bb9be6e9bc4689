"""DICOM SEG and RTSTRUCT as labels: the voxels, names, colors and codes that other programs wrote, or a refusal."""

import dataclasses

import numpy as np
import pytest
from dicom_helpers import ARRAY, GEOMETRY, SHAPE, enhanced, item, new_file, save_all, slices

from SparseSegLib.annotation import read_sparse_labels
from SparseSegLib.errors import FileError, GeometryError, UsageError, VolumeError
from SparseSegLib.evaluation.files import evaluate_files
from SparseSegLib.image import place
from SparseSegLib.io import SegmentInfo, read_labels, read_volume, write_labels
from SparseSegLib.io.dicom.contours import outlines
from SparseSegLib.io.dicom.export import export_dicom

highdicom = pytest.importorskip("highdicom")

KIDNEY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^64033007^Kidney~SCT^7771000^Left~Anatomic codes - DICOM master list~SCT^818983003^Abdomen~SCT^24028007^Right"
)
TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^"
    "~Anatomic codes - DICOM master list~^^~^^"
)
SEGMENTS = [
    SegmentInfo(1, "左肾 ü", (1.0, 0.0, 0.0), KIDNEY),
    SegmentInfo(2, "Core", (0.0, 0.502, 1.0), TISSUE),
    SegmentInfo(3, "Rim", (0.1765, 0.4, 0.0), TISSUE),
]


def _labels():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:5, 1:6, 1:7] = 1
    labels[1:3, 2:5, 2:5] = 2  # a hole in the first one
    labels[4, 0, 0] = labels[4, 6, 8] = 3  # in the corners
    return labels


def _segmentation(images, array, kind="BINARY", numbers=(1, 2), **options):
    """A SEG by highdicom, written as it wants."""
    tissue = highdicom.sr.CodedConcept("85756007", "SCT", "Tissue")
    described = [highdicom.seg.SegmentDescription(number, f"S{number}", tissue, tissue, "MANUAL") for number in numbers]
    return highdicom.seg.Segmentation(
        images, array, kind, described, "1.2.3.7", 1, "1.2.3.8", 1, "Maker", "Model", "1", "0", **options
    )


@pytest.fixture
def scan(tmp_path):
    """A folder with single slices and one with a multi-frame file of the same scan."""
    save_all(slices(), tmp_path / "ct")
    (tmp_path / "enhanced").mkdir()
    order = [3, 0, 5, 1, 4, 2]
    enhanced(ARRAY[order], heights=order).save_as(tmp_path / "enhanced/a.dcm", enforce_file_format=True)
    return tmp_path


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
@pytest.mark.parametrize("folder", ["ct", "enhanced", "enhanced/a.dcm"])
def test_what_was_exported_is_read_back(scan, kind, folder):
    labels = _labels()
    write_labels(labels, GEOMETRY, scan / "result.seg.nrrd", SEGMENTS)
    export_dicom(scan / "result.seg.nrrd", scan / folder, scan / "out.dcm", kind)
    found, grid, segments = read_labels(scan / "out.dcm", read_volume(scan / folder).geometry)
    assert grid.matches(GEOMETRY)
    np.testing.assert_array_equal(found, labels)
    for one, other in zip(segments, SEGMENTS, strict=True):
        assert (one.value, one.name, one.color) == (other.value, other.name, pytest.approx(other.color, abs=1e-4))
        assert one.terminology == (other.terminology if kind == "seg" else "")


def test_a_seg_has_its_own_grid_where_no_scan_is_known(scan):
    labels = _labels()
    labels[3] = 0  # an empty slice in between, which is left out of the file
    write_labels(labels, GEOMETRY, scan / "result.nrrd")
    export_dicom(scan / "result.nrrd", scan / "ct", scan / "out.dcm", "seg")
    found, grid, _ = read_labels(scan / "out.dcm")
    assert grid.shape[0] == 4 and grid.spacing == pytest.approx(GEOMETRY.spacing)
    np.testing.assert_array_equal(place(found, grid, GEOMETRY), labels)
    (scan / "both").mkdir()
    (scan / "out.dcm").rename(scan / "both/seg.dcm")
    save_all(slices(), scan / "both")
    found, grid, _ = read_labels(scan / "both")  # the labels of a folder that has the scan, too
    np.testing.assert_array_equal(place(found, grid, GEOMETRY), labels)
    assert read_volume(scan / "both").geometry.matches(GEOMETRY)


def test_overlaps_label_maps_and_fractions(scan, tmp_path):
    images = slices()
    both = np.zeros((*SHAPE, 2), np.uint8)
    both[1:4, 1:5, 1:5, 0] = both[2:5, 3:6, 3:7, 1] = 1
    expected = np.where(both[..., 1] > 0, 2, both[..., 0])
    for kind in ("BINARY", "FRACTIONAL"):
        made = _segmentation(images, both.astype(float) if kind == "FRACTIONAL" else both, kind)
        made.save_as(tmp_path / "a.dcm")
        np.testing.assert_array_equal(read_labels(tmp_path / "a.dcm", GEOMETRY)[0], expected)
    made = _segmentation(images, 0.5 * both.astype(float), "FRACTIONAL")
    made.save_as(tmp_path / "a.dcm")
    with pytest.raises(VolumeError, match="fractional"):
        read_labels(tmp_path / "a.dcm", GEOMETRY)
    numbered = np.where(expected == 2, 41, np.where(expected == 1, 7, 0)).astype(np.uint8)
    _segmentation(images, numbered, "LABELMAP", (7, 41)).save_as(tmp_path / "a.dcm")
    found, _, segments = read_labels(tmp_path / "a.dcm", GEOMETRY)
    np.testing.assert_array_equal(found, expected)
    assert [(one.value, one.name) for one in segments] == [(1, "S7"), (2, "S41")]


def test_labels_are_taken_wherever_labels_are(scan):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2, 2:5, 2:6] = 1
    write_labels(labels, GEOMETRY, scan / "result.nrrd")
    write_labels(labels, GEOMETRY, scan / "truth.nrrd")
    for kind in ("seg", "rtstruct"):
        export_dicom(scan / "result.nrrd", scan / "ct", scan / f"{kind}.dcm", kind)
        assert [score.dice for score in evaluate_files(scan / f"{kind}.dcm", scan / "truth.nrrd")] == [1.0]
        found = read_sparse_labels(scan / f"{kind}.dcm", GEOMETRY)
        assert [(plane.axis, plane.index) for plane in found.planes] == [(0, 2)]


def test_labels_are_no_images_and_images_no_labels(scan):
    write_labels(_labels(), GEOMETRY, scan / "result.nrrd")
    for kind, words in (("seg", r"segmentation \(DICOM SEG\)"), ("rtstruct", r"structure set \(RTSTRUCT\)")):
        (scan / kind).mkdir()
        path = scan / kind / "out.dcm"
        export_dicom(scan / "result.nrrd", scan / "ct", path, kind)
        for source in (path, path.parent):
            with pytest.raises(VolumeError, match=words) as caught:
                read_volume(source)
            assert "labels" in caught.value.hint
    with pytest.raises(GeometryError, match="outlines only"):
        read_labels(scan / "rtstruct/out.dcm")
    elsewhere = dataclasses.replace(GEOMETRY, origin=(-12.5, 7.25, 101.0))
    with pytest.raises(GeometryError, match="do not lie on the slices"):
        read_labels(scan / "rtstruct/out.dcm", elsewhere)
    (scan / "seg/out.dcm").rename(scan / "rtstruct/other.dcm")
    with pytest.raises(FileError, match="2 DICOM segmentations or structure sets"):
        read_labels(scan / "rtstruct", GEOMETRY)


@pytest.mark.parametrize(
    "sop_class, words",
    [
        ("481.2", "dose"),
        ("88.33", "report"),
        ("11.1", "presentation"),
        ("88.59", "key images"),
        ("104.1", "document"),
        ("66.5", "surface"),
    ],
)
def test_other_objects_are_called_by_their_names(tmp_path, sop_class, words):
    made = new_file(f"1.2.840.10008.5.1.4.1.1.{sop_class}", "OT")
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    for source in (tmp_path / "a.dcm", tmp_path):
        for read in (read_volume, read_labels):
            with pytest.raises(VolumeError, match=words) as caught:
                read(source)
            assert caught.value.hint
    save_all(slices(), tmp_path)
    assert read_volume(tmp_path).geometry.matches(GEOMETRY)


def _roi(number, name, contours, kind="CLOSED_PLANAR", **tags):
    drawn = [
        item(
            ContourGeometricType=kind, NumberOfContourPoints=len(points), ContourData=np.ravel(points).round(4).tolist()
        )
        for points in contours
    ]
    return item(ROINumber=number, ROIName=name), item(ReferencedROINumber=number, ContourSequence=drawn, **tags)


def _structure_set(path, *rois):
    made = new_file("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    made.StructureSetROISequence = [one for one, _ in rois]
    made.ROIContourSequence = [other for _, other in rois][::-1]  # in another order than they are named
    made.save_as(path, enforce_file_format=True)


def test_holes_islands_points_and_every_mask(tmp_path):
    masks = np.random.default_rng(1).random(SHAPE) < 0.6
    contours = [
        GEOMETRY.index_to_physical(np.column_stack([np.full(len(outline), z), outline]))
        for z in range(SHAPE[0])
        for outline in outlines(masks[z])
    ]
    square = np.array([[2, 0.5, 0.5], [2, 0.5, 5.5], [2, 5.5, 5.5], [2, 5.5, 0.5]])
    hole = np.array([[2, 1.5, 1.5], [2, 1.5, 3.5], [2, 3.5, 3.5], [2, 3.5, 1.5]])  # as an outline of its own
    rings = [GEOMETRY.index_to_physical(points) for points in (square, hole)]
    beyond = GEOMETRY.index_to_physical(square + np.array([0, -3, 5]))  # partly off the image
    marker = _roi(4, "Marker", [rings[0][:1]], "POINT")
    path = tmp_path / "rt.dcm"
    _structure_set(path, _roi(3, "Ring", rings), _roi(8, "Off", [beyond], ROIDisplayColor=[255, 0, 51]), marker)
    found, _, segments = read_labels(path, GEOMETRY)
    expected = np.zeros(SHAPE, np.uint8)
    expected[2, 1:6, 1:6] = 1
    expected[2, 2:4, 2:4] = 0
    expected[2, :3, 6:] = 2
    np.testing.assert_array_equal(found, expected)
    assert [one.name for one in segments] == ["Ring", "Off", "Marker"] and segments[1].color == (1.0, 0.0, 0.2)
    _structure_set(path, _roi(1, "Noise", contours))
    np.testing.assert_array_equal(read_labels(path, GEOMETRY)[0], masks)


def test_names_that_dicom_cannot_hold_are_changed_as_little_as_possible(scan):
    names = ["a\\b", "x" * 40 + "left" + "y" * 40 + "1", "x" * 40 + "left" + "y" * 40 + "2", "tab\tbed"]
    wanted = ["a/b", "x" * 31 + "..." + "y" * 29 + "1", "x" * 31 + "..." + "y" * 29 + "2", "tab bed"]
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 0, :4] = [1, 2, 3, 4]
    infos = [SegmentInfo(value, name, (1.0, 0.0, 0.0)) for value, name in enumerate(names, start=1)]
    write_labels(labels, GEOMETRY, scan / "result.seg.nrrd", infos)
    for kind in ("seg", "rtstruct"):
        export_dicom(scan / "result.seg.nrrd", scan / "ct", scan / f"{kind}.dcm", kind)
        found = read_labels(scan / f"{kind}.dcm", GEOMETRY)[2]
        assert [one.name for one in found] == wanted


def test_the_patient_keeps_his_name_in_another_character_set(tmp_path):
    from pydicom import dcmread

    save_all(slices(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg"), tmp_path / "ct")
    write_labels(_labels(), GEOMETRY, tmp_path / "result.seg.nrrd", SEGMENTS)
    for kind in ("seg", "rtstruct"):
        export_dicom(tmp_path / "result.seg.nrrd", tmp_path / "ct", tmp_path / f"{kind}.dcm", kind)
        found = dcmread(tmp_path / f"{kind}.dcm")
        assert found.SpecificCharacterSet == "ISO_IR 192" and found.PatientName == "Müller^Jörg"


def test_a_scan_without_names_can_be_referred_to(tmp_path):
    files = slices()
    for one in files:
        for name in (
            "PatientName",
            "PatientBirthDate",
            "PatientSex",
            "AccessionNumber",
            "StudyID",
            "FrameOfReferenceUID",
        ):
            delattr(one, name)
    save_all(files, tmp_path / "ct")
    write_labels(_labels(), GEOMETRY, tmp_path / "result.nrrd")
    export_dicom(tmp_path / "result.nrrd", tmp_path / "ct", tmp_path / "seg.dcm", "seg")
    np.testing.assert_array_equal(read_labels(tmp_path / "seg.dcm", GEOMETRY)[0], _labels())


def test_scans_whose_frames_cannot_be_referred_to(tmp_path):
    for name, part in (("a", slice(0, 3)), ("b", slice(3, 6))):
        (tmp_path / "ct").mkdir(exist_ok=True)
        made = enhanced(ARRAY[part], heights=list(range(6))[part])
        made.save_as(tmp_path / f"ct/{name}.dcm", enforce_file_format=True)
    write_labels(_labels(), GEOMETRY, tmp_path / "result.nrrd")
    with pytest.raises(UsageError, match="cannot refer to"):
        export_dicom(tmp_path / "result.nrrd", tmp_path / "ct", tmp_path / "seg.dcm", "seg")
