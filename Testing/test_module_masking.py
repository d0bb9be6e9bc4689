"""What must not be changed is not: locked and hidden segments, and what the Segment Editor's masking protects."""

import numpy as np
import pytest
import slicer
from module_helpers import add_volume, paint

from SparseSegLib.annotation import UNLABELED, Plane, read_sparse_labels, write_sparse_labels
from SparseSegLib.image import Geometry

SHAPE = (12, 14, 16)
MIDDLE = Plane(0, 6)
FIRST, SECOND, THIRD = 1, 2, 3


def _box(*sides):
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(*side) for side in sides)] = 1
    return mask


LIVER = _box((2, 10), (2, 12), (1, 6))
KIDNEY = _box((3, 9), (3, 11), (8, 14))


@pytest.fixture
def organs(panel):
    """A finished, dense liver; a kidney that is drawn on one slice; and a segment in which nothing is drawn."""
    from SparseSegModule.volumes import ijkToRas

    volume = add_volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), Geometry.identity(SHAPE), "image")
    node = panel.parameterNode
    node.inputVolume = volume
    drawing = node.segmentation
    segmentation = drawing.GetSegmentation()
    segmentation.RemoveAllSegments()
    ids = [segmentation.AddEmptySegment("", name) for name in ("liver", "kidney", "spleen")]
    paint(drawing, ids[0], LIVER, ijkToRas(volume))
    on_slice = np.zeros_like(KIDNEY)
    on_slice[MIDDLE.voxels] = KIDNEY[MIDDLE.voxels]
    paint(drawing, ids[1], on_slice, ijkToRas(volume))
    return panel, volume, drawing, ids


def _lock(drawing, segment_id):
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(drawing.GetSegmentation().GetSegment(segment_id), logic.Completed)


def _table():
    from SparseSegModule.planes import AnnotatedPlane, PlaneTable

    return PlaneTable().withPlane(AnnotatedPlane(MIDDLE.axis, MIDDLE.index))


def _drawing(volume, drawing, editor=None):
    from SparseSegModule.annotation import takeDrawing

    return takeDrawing(volume, drawing, _table(), editorNode=editor)


def _editor():
    return slicer.vtkMRMLSegmentEditorNode()


def _labels(drawing, volume):
    from SparseSegModule.segmentLabels import classLabels

    return classLabels(drawing, volume).whole(SHAPE)


def test_a_locked_segment_is_background_and_an_empty_one_no_class(organs):
    _, volume, drawing, ids = organs
    _lock(drawing, ids[0])
    labels = _drawing(volume, drawing).sparseLabels()
    assert set(np.unique(labels.array)) == {0, SECOND, UNLABELED}
    assert (labels.array[LIVER > 0] == 0).all()
    off = np.ones(SHAPE, bool)
    off[MIDDLE.voxels] = False
    assert (labels.array[off & (LIVER == 0)] == UNLABELED).all()
    assert labels.compact().names == ("kidney",)


def test_slices_are_found_beside_a_finished_segment(organs):
    from SparseSegModule.annotation import findPlanes

    _, volume, drawing, ids = organs
    assert findPlanes(volume, drawing) != [MIDDLE]
    _lock(drawing, ids[0])
    assert findPlanes(volume, drawing) == [MIDDLE]


def test_a_hidden_segment_is_not_learned(organs):
    _, volume, drawing, ids = organs
    drawing.GetDisplayNode().SetSegmentVisibility(ids[0], False)
    labels = _drawing(volume, drawing).sparseLabels()
    off = np.ones(SHAPE, bool)
    off[MIDDLE.voxels] = False
    assert (labels.array[off] == UNLABELED).all()
    np.testing.assert_array_equal(labels.array[MIDDLE.voxels], SECOND * KIDNEY[MIDDLE.voxels])


def test_nothing_is_protected_unless_something_says_so(organs):
    from SparseSegModule.masking import protectedVoxels

    _, volume, drawing, _ = organs
    assert protectedVoxels(volume, drawing) is None
    assert protectedVoxels(volume, drawing, _editor()) is None


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("EditAllowedInsideAllSegments", ~((LIVER > 0) | (_box((6, 7), (3, 11), (8, 14)) > 0))),
        ("EditAllowedInsideSingleSegment", LIVER == 0),
        ("EditAllowedInsideVisibleSegments", _box((6, 7), (3, 11), (8, 14)) == 0),
        ("EditAllowedOutsideAllSegments", LIVER > 0),
        ("EditAllowedOutsideVisibleSegments", np.zeros(SHAPE, bool)),
    ],
)
def test_the_editable_area_of_the_segment_editor_is_kept(organs, mode, expected):
    """The liver is hidden, so that of the segments only the kidney is learned."""
    from SparseSegModule.masking import protectedVoxels

    _, volume, drawing, ids = organs
    drawing.GetDisplayNode().SetSegmentVisibility(ids[0], False)
    editor = _editor()
    editor.SetMaskMode(getattr(slicer.vtkMRMLSegmentationNode, mode))
    editor.SetMaskSegmentID(ids[0])
    np.testing.assert_array_equal(protectedVoxels(volume, drawing, editor), expected)


def test_the_editable_intensity_range_is_kept_and_says_nothing_of_what_lies_outside(organs, tmp_path):
    _, volume, drawing, ids = organs
    _lock(drawing, ids[0])
    editor = _editor()
    editor.SetSourceVolumeIntensityMask(True)
    image = slicer.util.arrayFromVolume(volume)
    least, most = float(image[6, 5, 0]), float(image[6, 9, 15])
    editor.SetSourceVolumeIntensityMaskRange(least, most)
    taken = _drawing(volume, drawing, editor)
    outside = (image < least) | (image > most)
    np.testing.assert_array_equal(taken.protected, outside | (LIVER > 0))
    labels = taken.sparseLabels().array
    assert (labels[outside & (LIVER == 0) & (labels != SECOND)] == UNLABELED).all(), "nothing may be drawn there"
    assert (labels[LIVER > 0] == 0).all(), "but of the locked segment it is known"
    inside = ~outside[MIDDLE.voxels] & (LIVER[MIDDLE.voxels] == 0)
    np.testing.assert_array_equal(labels[MIDDLE.voxels][inside], SECOND * KIDNEY[MIDDLE.voxels][inside])

    write_sparse_labels(taken.sparseLabels(), tmp_path / "drawn.nrrd")
    arrived = read_sparse_labels(tmp_path / "drawn.nrrd", taken.geometry)
    np.testing.assert_array_equal(arrived.labeled, labels != UNLABELED)
    assert arrived.planes == (MIDDLE,)


def test_a_prediction_leaves_what_is_protected_as_it_is(organs):
    _, volume, drawing, ids = organs
    _lock(drawing, ids[0])
    taken = _drawing(volume, drawing)
    box = (slice(2, 12), slice(0, 14), slice(4, 16))
    predicted = np.full(SHAPE, SECOND, np.uint8)[box]
    predicted[0] = UNLABELED
    expected = np.where((LIVER[box] > 0) & (predicted != UNLABELED), 0, predicted)
    np.testing.assert_array_equal(taken.masked(predicted, taken.geometry.crop(box)), expected)


def test_apply_keeps_locked_segments_and_the_editable_area(organs):
    from SparseSegModule.applying import applyResult
    from SparseSegModule.loop import AnnotationLoop

    _, volume, drawing, ids = organs
    editor = _editor()
    loop = AnnotationLoop(volume, drawing, editorNode=editor)
    loop.setTable(_table())
    _lock(drawing, ids[0])
    editor.SetSourceVolumeIntensityMask(True)
    image = slicer.util.arrayFromVolume(volume)
    editor.SetSourceVolumeIntensityMaskRange(float(image[5, 0, 0]), float(image.max()))
    applyResult(loop, np.full(SHAPE, SECOND, np.uint8), ids)
    now = _labels(drawing, volume)
    np.testing.assert_array_equal(now == FIRST, LIVER > 0)
    expected = np.zeros(SHAPE, bool)
    expected[5:] = LIVER[5:] == 0
    expected[MIDDLE.voxels] = KIDNEY[MIDDLE.voxels] > 0
    np.testing.assert_array_equal(now == SECOND, expected)


@pytest.mark.parametrize(("mode", "overwritten"), [("OverwriteAllSegments", True), ("OverwriteVisibleSegments", False)])
def test_modify_other_segments_decides_about_hidden_ones(organs, mode, overwritten):
    from SparseSegModule.applying import applyResult
    from SparseSegModule.loop import AnnotationLoop
    from SparseSegModule.segmentLabels import segmentsMask

    _, volume, drawing, ids = organs
    editor = _editor()
    loop = AnnotationLoop(volume, drawing, editorNode=editor)
    loop.setTable(_table())
    drawing.GetDisplayNode().SetSegmentVisibility(ids[0], False)
    editor.SetOverwriteMode(getattr(editor, mode))
    result = SECOND * _box((0, 12), (0, 14), (0, 3))
    applyResult(loop, result, ids)
    left = LIVER.astype(bool)
    if overwritten:
        left = left & ~((result > 0) & (np.arange(SHAPE[0])[:, None, None] != MIDDLE.index))
    np.testing.assert_array_equal(segmentsMask(drawing, volume, [ids[0]]), left)


def test_a_result_has_the_learned_structures_and_no_other(organs):
    from SparseSegModule.results import addSegmentation
    from SparseSegModule.segmentChanges import setLabels
    from SparseSegModule.segmentLabels import resultLabels
    from SparseSegModule.segments import editableStyles
    from SparseSegModule.volumes import ijkToRas

    _, volume, drawing, ids = organs
    _lock(drawing, ids[0])
    styles = editableStyles(drawing)
    assert {value: style.name for value, style in styles.items()} == {SECOND: "kidney", THIRD: "spleen"}
    result = addSegmentation(volume, "result")
    labels = SECOND * KIDNEY
    for _ in range(2):
        setLabels(result, labels, ijkToRas(volume), {SECOND: styles[SECOND]})
        assert [result.GetSegmentation().GetNthSegment(0).GetName()] == ["kidney"]
        np.testing.assert_array_equal(resultLabels(result, volume), labels)


def test_a_model_learns_locked_and_hidden_segments_too(organs):
    from SparseSegModule.annotation import takeEverySegment

    _, volume, drawing, ids = organs
    _lock(drawing, ids[0])
    drawing.GetDisplayNode().SetSegmentVisibility(ids[1], False)
    labels = takeEverySegment(volume, drawing, _table()).sparseLabels()
    assert set(np.unique(labels.array)) == {0, FIRST, SECOND, UNLABELED}


def test_an_applied_result_is_no_annotation_beside_a_large_locked_segment(organs):
    from SparseSegModule.annotation import takeDrawing
    from SparseSegModule.applying import applyResult
    from SparseSegModule.loop import AnnotationLoop

    _, volume, drawing, ids = organs
    loop = AnnotationLoop(volume, drawing)
    loop.setTable(_table())
    _lock(drawing, ids[0])
    result = SECOND * _box((5, 8), (3, 6), (8, 11))
    applyResult(loop, result, ids)
    labels = takeDrawing(volume, drawing, _table(), loop.applied).sparseLabels()
    off = np.ones(SHAPE, bool)
    off[MIDDLE.voxels] = False
    assert not (labels.array[off] == SECOND).any(), "the result has not been drawn"
