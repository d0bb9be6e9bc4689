"""Files of sparse labels that other programs changed, other grids, and lists of planes that do not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob

from SparseSegLib.annotation import (
    UNLABELED,
    ObliquePlane,
    Plane,
    keep_planes,
    read_sparse_labels,
    sparse_labels_from_segments,
    sparsify,
    write_sparse_labels,
)
from SparseSegLib.errors import AnnotationError, FileError, GeometryError
from SparseSegLib.image import Geometry, resample
from SparseSegLib.io import SegmentInfo, read_labels, write_labels

GEOMETRY = Geometry.identity((40, 44, 48))
TRUTH = blob(GEOMETRY).labels


@pytest.mark.parametrize("grid", ["identity", "oblique", "flipped"])
@pytest.mark.parametrize("give_reference", [True, False])
def test_planes_stay_where_they_were_when_slicer_crops_the_segmentation(tmp_path, grid, give_reference):
    geometry = GEOMETRIES[grid]
    labels = sparsify(blob(geometry).labels, geometry, (2, 2, 2), names=("blob",))
    path = tmp_path / "a.seg.nrrd"
    write_sparse_labels(labels, path)
    array, _, segments = read_labels(path)
    box = labels.bounding_box("objects")
    write_labels(array[box], geometry.crop(box), path, segments)
    again = read_sparse_labels(path, geometry if give_reference else None)
    assert again.planes == labels.planes
    np.testing.assert_array_equal(again.array, labels.array)


def test_a_list_without_a_grid_counts_on_the_labels_own(tmp_path):
    labels = sparsify(TRUTH, GEOMETRY, (1, 1, 1))
    box = labels.bounding_box("objects")
    drawn = np.where(labels.labeled, labels.array, 0)
    write_labels(drawn[box], GEOMETRY.crop(box), tmp_path / "a.seg.nrrd")
    planes = [{"axis": "zyx"[plane.axis], "index": plane.index - box[plane.axis].start} for plane in labels.planes]
    (tmp_path / "a.seg.nrrd.planes.json").write_text(json.dumps({"format": 1, "planes": planes, "names": []}))
    again = read_sparse_labels(tmp_path / "a.seg.nrrd", GEOMETRY)
    assert again.planes == labels.planes
    np.testing.assert_array_equal(again.array, labels.array)


def test_labels_of_a_part_of_the_volume_say_nothing_about_the_rest(tmp_path):
    part = sparsify(TRUTH, GEOMETRY, (1, 1, 1)).crop((slice(12, 28), slice(12, 30), slice(15, 40)))
    write_sparse_labels(part, tmp_path / "a.nrrd")
    again = read_sparse_labels(tmp_path / "a.nrrd", GEOMETRY)
    assert again.labeled.sum() == part.labeled.sum()
    assert (again.array[again.labeled] == TRUTH[again.labeled]).all()
    assert again.planes == ()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_coarser_grid_keeps_what_is_on_a_slice(tmp_path, factor):
    labels = keep_planes(TRUTH, GEOMETRY, [Plane(0, 16), Plane(1, 20)])
    write_sparse_labels(labels, tmp_path / "a.nrrd")
    coarse = GEOMETRY.with_spacing((factor, 1, 1))
    again = read_sparse_labels(tmp_path / "a.nrrd", coarse, resample_to=True)
    axial, coronal = again.planes
    assert (axial.axis, coronal) == (0, Plane(1, 20))
    np.testing.assert_array_equal(np.delete(again.array[axial.voxels], 20, 0), np.delete(TRUTH[16], 20, 0))


def test_a_coarser_grid_loses_no_stroke(tmp_path):
    array = np.full(GEOMETRY.shape, UNLABELED, np.uint8)
    array[5, 5, 3:30], array[9, 11, 3:30] = 1, 0
    write_labels(array, GEOMETRY, tmp_path / "a.nrrd")
    again = read_sparse_labels(tmp_path / "a.nrrd", GEOMETRY.with_spacing((4, 4, 4)), resample_to=True)
    assert set(np.unique(again.array)) == {0, 1, UNLABELED}


@pytest.mark.parametrize(("degrees", "planes"), [(1, 1), (10, 0), (25, 0)])
def test_a_tilted_grid_gets_no_false_labels(tmp_path, degrees, planes):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    middle = np.array([23.5, 21.5, 19.5])
    tilted = Geometry(GEOMETRY.shape, (1, 1, 1), tuple(middle - about_x @ middle), tuple(about_x.ravel()))
    write_sparse_labels(keep_planes(TRUTH, GEOMETRY, [Plane(0, 20)]), tmp_path / "a.nrrd")
    again = read_sparse_labels(tmp_path / "a.nrrd", tilted, resample_to=True)
    assert len(again.planes) == planes
    assert (again.array == 1).sum() >= 0.95 * TRUTH[20].sum()
    truth = resample(TRUTH, GEOMETRY, tilted, order="nearest")
    assert (again.array != truth)[again.labeled].mean() < 0.005


def test_a_cropped_segmentation_on_another_grid_has_whole_slices(tmp_path):
    drawn = np.where(sparsify(TRUTH, GEOMETRY, (2, 0, 0)).labeled, TRUTH, 0)
    box = (slice(10, 30), slice(8, 36), slice(8, 40))
    write_labels(drawn[box], GEOMETRY.crop(box), tmp_path / "a.seg.nrrd")
    fine = GEOMETRY.with_spacing((1, 0.5, 0.5))
    with pytest.raises(GeometryError) as caught:
        read_sparse_labels(tmp_path / "a.seg.nrrd", fine)
    assert "--resample" in caught.value.hint
    again = read_sparse_labels(tmp_path / "a.seg.nrrd", fine, resample_to=True)
    assert [plane.index for plane in again.planes] == [16, 23]
    assert all((again.array[plane.voxels] != UNLABELED).all() for plane in again.planes)


def test_labels_of_another_place_are_refused(tmp_path):
    elsewhere = replace(GEOMETRY, origin=(500.0, 0.0, 0.0))
    for name in ("a.nrrd", "a.seg.nrrd"):
        write_sparse_labels(sparsify(TRUTH, GEOMETRY, (1, 1, 1)), tmp_path / name)
        with pytest.raises(GeometryError, match="overlap"):
            read_sparse_labels(tmp_path / name, elsewhere)


@pytest.mark.parametrize(
    ("values", "words"), [([-1, 1], "-1"), ([1, 2**31], "2147483648"), ([255], "255 means unlabeled")]
)
def test_values_that_are_no_classes_are_refused(tmp_path, values, words):
    array = np.zeros(GEOMETRY.shape, np.int64)
    for number, value in enumerate(values):
        array[10 + number, 10:20, 10:20] = value
    write_labels(array, GEOMETRY, tmp_path / "a.nrrd")
    with pytest.raises(AnnotationError, match=words) as caught:
        read_sparse_labels(tmp_path / "a.nrrd")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["a.nrrd", "a.seg.nrrd"])
@pytest.mark.parametrize(("axis", "index"), [("z", -3), ("z", 40), ("", 9), ("zy", 9)])
def test_planes_that_do_not_exist_are_refused(tmp_path, name, axis, index):
    write_sparse_labels(sparsify(TRUTH, GEOMETRY, (1, 1, 1)), tmp_path / name)
    _rewrite(tmp_path, planes=[{"axis": axis, "index": index}])
    with pytest.raises(FileError, match=r"planes\.json"):
        read_sparse_labels(tmp_path / name, GEOMETRY)


def test_a_listed_plane_on_which_nothing_is_labeled_is_refused(tmp_path):
    labels = sparsify(TRUTH, GEOMETRY, (1, 1, 1))
    write_sparse_labels(labels, tmp_path / "a.nrrd")
    crossing = [{"axis": "zyx"[plane.axis], "index": plane.index} for plane in labels.planes if plane.axis]
    _rewrite(tmp_path, planes=[{"axis": "z", "index": 3}, *crossing])
    with pytest.raises(FileError, match="nothing on it is labeled"):
        read_sparse_labels(tmp_path / "a.nrrd")


def test_a_list_of_another_grid_is_refused(tmp_path):
    write_sparse_labels(sparsify(TRUTH, GEOMETRY, (1, 1, 1)), tmp_path / "a.seg.nrrd")
    write_labels(TRUTH[:, ::2], GEOMETRY.with_spacing((1, 2, 1)), tmp_path / "a.seg.nrrd")
    with pytest.raises(GeometryError, match="another grid") as caught:
        read_sparse_labels(tmp_path / "a.seg.nrrd")
    assert "Delete" in caught.value.hint


def test_background_strokes_are_no_class_and_leave_no_gap(tmp_path):
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[5, 5:9, 5:9], array[7, 3, 3:9], array[9, 5:9, 5:9] = 1, 2, 3
    names = ("liver", " Background", "spleen")
    segments = [SegmentInfo(value, name, (1.0, 0.0, 0.0)) for value, name in enumerate(names, start=1)]
    write_labels(array, GEOMETRY, tmp_path / "a.seg.nrrd", segments)
    labels = read_sparse_labels(tmp_path / "a.seg.nrrd", GEOMETRY)
    assert labels.names == ("liver", "spleen")
    assert labels.classes == 3
    assert labels.planes == (Plane(0, 5), Plane(0, 9))
    assert labels.own_values == (1, 3)
    assert (labels.array[9, 5:9, 5:9] == 2).all()
    assert (labels.array[7, 3, 3:9] == 0).all()


@pytest.mark.parametrize("name", ["a.nrrd", "a.seg.nrrd", "a.nii.gz"])
def test_a_class_named_background_is_refused_before_anything_is_written(tmp_path, name):
    labels = sparsify(TRUTH, GEOMETRY, (1, 1, 1), names=("Background ",))
    with pytest.raises(AnnotationError, match="named background") as caught:
        write_sparse_labels(labels, tmp_path / name)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_files_of_one_name_and_other_formats_keep_their_own_planes(tmp_path):
    few, many = sparsify(TRUTH, GEOMETRY, (1, 0, 0)), sparsify(TRUTH, GEOMETRY, (2, 2, 2))
    write_sparse_labels(few, tmp_path / "a.nrrd")
    write_sparse_labels(many, tmp_path / "a.seg.nrrd")
    assert read_sparse_labels(tmp_path / "a.nrrd").planes == few.planes
    assert read_sparse_labels(tmp_path / "a.seg.nrrd").planes == many.planes


def test_slices_drawn_after_the_list_was_written_are_found(tmp_path):
    path = tmp_path / "a.seg.nrrd"
    empty = Plane(0, 0)  # finished, and nothing is on it: only the list can know
    labels = keep_planes(TRUTH, GEOMETRY, [empty, Plane(0, 10)])
    write_sparse_labels(labels, path)
    drawn, _, segments = read_labels(path)
    drawn[:, 9] = TRUTH[:, 9]
    write_labels(drawn, GEOMETRY, path, segments)
    assert read_sparse_labels(path).planes == (empty, Plane(0, 10), Plane(1, 9))


def test_oblique_planes_keep_their_pose(tmp_path):
    pose = ObliquePlane(tuple(GEOMETRY.index_to_physical(np.array([10.0, 9, 9])).tolist()), (0.0, 0.6, 0.8))
    labels = sparse_labels_from_segments(TRUTH, GEOMETRY, [Plane(0, 10)], oblique=[pose])
    labels = keep_only_drawn(labels, pose)
    write_sparse_labels(labels, tmp_path / "a.seg.nrrd")
    again = read_sparse_labels(tmp_path / "a.seg.nrrd")
    assert again.oblique == (pose,)
    assert not again.strokes.any()
    np.testing.assert_array_equal(again.array, labels.array)
    assert {info.name.lower() for info in read_labels(tmp_path / "a.seg.nrrd")[2]} != {"background"}


@pytest.mark.parametrize("pose", [{"point": [0, 0, 0]}, {"point": [0, 0, 0], "normal": [0, 0, 0]}, "q"])
def test_a_list_with_a_broken_pose_is_refused(tmp_path, pose):
    write_sparse_labels(sparsify(TRUTH, GEOMETRY, (1, 1, 1)), tmp_path / "a.nrrd")
    _rewrite(tmp_path, oblique=[pose])
    with pytest.raises(FileError, match="planes"):
        read_sparse_labels(tmp_path / "a.nrrd")


def keep_only_drawn(labels, pose):
    """The labels on the annotated planes alone."""
    there = pose.mask(GEOMETRY)
    there[10] = True
    return replace(labels, array=np.where(there, labels.array, UNLABELED).astype(np.uint8))


def _rewrite(folder, **changes):
    (path,) = folder.glob("*.planes.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
