"""Results as DICOM: outlines give the mask again, and what was written is what pydicom reads."""

import dataclasses
import json

import numpy as np
import pytest
from phantoms import oblique_geometry
from skimage.draw import polygon2mask
from test_io_dicom import SHAPE, UID, right_handed, write_series

from SparseSegLib.cli import main
from SparseSegLib.errors import AnnotationError, DependencyError, FileError, GeometryError
from SparseSegLib.io import SegmentInfo, write_labels
from SparseSegLib.io.dicom.contours import outlines
from SparseSegLib.io.dicom.export import export_dicom

SEGMENTS = [SegmentInfo(1, "Shell ü", (1.0, 0.0, 0.0), algorithm="AUTOMATIC"), SegmentInfo(3, "Core", (0.0, 0.5, 1.0))]
HOW_MADE = ["AUTOMATIC", "SEMIAUTOMATIC"]  # as the file says, and where it says nothing


def _filled(contours, shape):
    """The mask (Y, X) inside of an odd number of outlines."""
    return sum(polygon2mask(shape, contour).astype(int) for contour in contours) % 2 == 1


def _points(path):
    """All coordinates in a structure set, to a hundredth of a mm."""
    import pydicom

    found = pydicom.dcmread(path).ROIContourSequence
    return [np.round(np.array(one.ContourData, float), 2).tolist() for roi in found for one in roi.ContourSequence]


def test_outlines_give_the_mask_again():
    rng = np.random.default_rng(0)
    ring = np.zeros((20, 24), bool)
    ring[2:18, 3:20] = True
    ring[5:8, 5:9] = ring[10:15, 8:18] = False
    ring[12, 11] = True  # an island in a hole
    whole, corner = np.ones((5, 6), bool), np.zeros((5, 6), bool)
    corner[0, 0] = corner[1, 1] = True
    for mask in (ring, whole, corner, rng.random((20, 24)) < 0.6):
        found = outlines(mask)
        np.testing.assert_array_equal(_filled(found, mask.shape), mask)
    assert len(outlines(ring)) == 2
    assert len(outlines(corner)) == 2


@pytest.fixture
def scan(tmp_path):
    """A CT folder with names against the order of its slices, and a result that Slicer would cut to its segments."""
    geometry = right_handed(oblique_geometry())
    write_series(tmp_path / "ct ü", geometry, more={"0010|0010": "Doe^Jane", "0020|0052": f"{UID}.77"})
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:5, 3:13, 4:16] = 1
    labels[2:4, 6:10, 8:12] = 3
    box = (slice(1, 5), slice(2, 14), slice(3, 17))
    segments = [*SEGMENTS, SegmentInfo(7, "Nothing", (0.0, 1.0, 0.0))]
    write_labels(labels[box], geometry.crop(box), tmp_path / "result.seg.nrrd", segments)
    return tmp_path, geometry, labels


def test_a_structure_set_has_the_voxels_of_the_result(scan):
    pydicom = pytest.importorskip("pydicom")
    folder, geometry, labels = scan
    out = folder / "result ü.dcm"
    assert export_dicom(folder / "result.seg.nrrd", folder / "ct ü", out, "rtstruct") == SEGMENTS
    found = pydicom.dcmread(out)
    assert found.Modality == "RTSTRUCT" and found.PatientName == "Doe^Jane"
    assert found.StudyInstanceUID == f"{UID}.99" and found.FrameOfReferenceUID == f"{UID}.77"
    assert [roi.ROIName for roi in found.StructureSetROISequence] == ["Shell ü", "Core"]
    assert [roi.ROIGenerationAlgorithm for roi in found.StructureSetROISequence] == HOW_MADE
    scan_slices = found.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert scan_slices.SeriesInstanceUID == UID and len(scan_slices.ContourImageSequence) == len(labels)
    for roi, segment in zip(found.ROIContourSequence, SEGMENTS, strict=True):
        again = np.zeros(SHAPE, bool)
        for contour in roi.ContourSequence:
            points = geometry.physical_to_index(np.array(contour.ContourData, float).reshape(-1, 3))
            z = round(points[0, 0])
            assert np.abs(points[:, 0] - z).max() < 1e-3
            assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == f"{UID}.{z + 1}"
            again[z] ^= polygon2mask(SHAPE[1:], points[:, 1:])
        np.testing.assert_array_equal(again, labels == segment.value)
        assert list(roi.ROIDisplayColor) == [round(255 * part) for part in segment.color]


def test_a_segmentation_object_has_the_voxels_of_the_result(scan):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    folder, geometry, labels = scan
    export_dicom(folder / "result.seg.nrrd", folder / "ct ü", folder / "seg.dcm", "seg")
    found = pydicom.dcmread(folder / "seg.dcm")
    assert found.Modality == "SEG" and found.StudyInstanceUID == f"{UID}.99"
    assert [one.SegmentLabel for one in found.SegmentSequence] == ["Shell ü", "Core"]
    assert [one.SegmentAlgorithmType for one in found.SegmentSequence] == HOW_MADE
    again = np.zeros(SHAPE, np.uint8)
    for frame, about in zip(found.pixel_array, found.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(about.PlanePositionSequence[0].ImagePositionPatient, float)
        z = round(geometry.physical_to_index(position)[0])
        number = about.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        again[z][frame == 1] = SEGMENTS[number - 1].value
    np.testing.assert_array_equal(again, labels)


def test_what_cannot_be_exported_is_told_and_nothing_is_replaced(scan, capsys, monkeypatch):
    pytest.importorskip("pydicom")
    folder, geometry, labels = scan
    result, out = folder / "result.seg.nrrd", folder / "out.dcm"
    arguments = ["export", str(result), "--dicom", str(folder / "ct ü"), "-o", str(out), "--format", "rtstruct"]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["segments"] == ["Shell ü", "Core"]
    before = out.read_bytes()
    assert main(arguments) == 2
    assert "is there already" in capsys.readouterr().err and out.read_bytes() == before
    assert main([*arguments, "--overwrite"]) == 0
    matrix = np.array(geometry.direction).reshape(3, 3) * [1, -1, 1]
    last_row = geometry.index_to_physical(np.array([0, SHAPE[1] - 1, 0]))
    flipped = dataclasses.replace(geometry, origin=tuple(last_row), direction=tuple(matrix.ravel()))
    write_labels(labels[:, ::-1], flipped, folder / "flipped.nii.gz")  # as other programs may write it
    export_dicom(folder / "flipped.nii.gz", folder / "ct ü", folder / "flipped.dcm", "rtstruct")
    assert _points(folder / "flipped.dcm") == _points(out)
    elsewhere = dataclasses.replace(geometry, spacing=(2.5, 0.9, 0.7))
    write_labels(labels, elsewhere, folder / "other.nrrd")
    with pytest.raises(GeometryError, match="spacing"):
        export_dicom(folder / "other.nrrd", folder / "ct ü", folder / "b.dcm", "rtstruct")
    write_labels(0 * labels, geometry, folder / "none.nrrd")
    with pytest.raises(AnnotationError, match="Nothing is segmented"):
        export_dicom(folder / "none.nrrd", folder / "ct ü", folder / "b.dcm", "rtstruct")
    write_series(folder / "nameless", geometry, more={"0020|000d": ""})
    with pytest.raises(FileError, match="no StudyInstanceUID"):
        export_dicom(result, folder / "nameless", folder / "b.dcm", "rtstruct")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="highdicom") as caught:
        export_dicom(result, folder / "ct ü", folder / "b.dcm", "seg")
    assert "pip install" in caught.value.hint
    assert not (folder / "b.dcm").exists()
