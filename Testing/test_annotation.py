"""The annotation model: planes, unlabeled against background, finding planes, files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob, multi_class

from SparseSegLib.annotation import (
    UNLABELED,
    ObliquePlane,
    Plane,
    SparseLabels,
    find_planes,
    is_dense,
    keep_planes,
    read_sparse_labels,
    sparse_labels_from_segments,
    sparsify,
    sparsify_every,
    write_sparse_labels,
)
from SparseSegLib.errors import AnnotationError, FileError, GeometryError
from SparseSegLib.image import Geometry
from SparseSegLib.io import default_segment, write_labels

GEOMETRY = GEOMETRIES["identity"]


def _drawn(labels: SparseLabels) -> np.ndarray:
    """The labelmap as Slicer would hold it: segments only, 0 elsewhere."""
    return np.where(labels.array == UNLABELED, 0, labels.array)


def test_on_a_finished_slice_the_rest_is_background_and_elsewhere_unlabeled():
    labelmap = np.zeros(GEOMETRY.shape, np.uint8)
    labelmap[5, 10:14, 10:14] = 1
    labelmap[9, 20, 20:24] = 2
    strokes = np.zeros(GEOMETRY.shape, bool)
    strokes[15, 3, 3:6] = True
    labels = sparse_labels_from_segments(labelmap, GEOMETRY, [Plane(0, 5)], background=strokes)
    assert (labels.array[5] == labelmap[5]).all()
    assert labels.scribbles.sum() == 4 + 3
    assert (labels.array[9, 20, 20:24] == 2).all()
    assert (labels.array[15, 3, 3:6] == 0).all()
    assert labels.labeled.sum() == labels.array[5].size + 7
    assert labels.classes == 3


def test_an_oblique_plane_labels_the_voxels_next_to_it():
    geometry = GEOMETRIES["oblique"]
    middle = geometry.index_to_physical(np.array([[10.0, 16.0, 20.0]]))[0]
    along_z = geometry.affine()[:3, 0] / geometry.spacing[0]
    mask = ObliquePlane(tuple(middle), tuple(along_z)).mask(geometry)
    assert mask[10].all()
    assert mask.sum() == mask[10].size
    labelmap = np.zeros(geometry.shape, np.uint8)
    labelmap[10, 3, 3] = 1
    labels = sparse_labels_from_segments(labelmap, geometry, [], oblique=[ObliquePlane(tuple(middle), tuple(along_z))])
    assert (labels.array[10] == labelmap[10]).all()


def test_leaving_a_plane_out_keeps_what_crosses_it():
    labels = sparsify(blob().labels, GEOMETRY, (1, 1, 0))
    gone, kept = labels.planes
    rest = labels.without(gone)
    assert rest.planes == (kept,)
    assert (rest.array[kept.voxels] == labels.array[kept.voxels]).all()
    assert (rest.array != UNLABELED).sum() == labels.array[kept.voxels].size


def test_planes_move_with_a_crop():
    labels = sparsify(blob().labels, GEOMETRY, (2, 1, 1))
    box = (slice(8, 18), slice(4, 30), slice(2, 40))
    part = labels.crop(box)
    assert all((part.array[plane.voxels] != UNLABELED).all() for plane in part.planes)
    assert len(part.planes) == sum(plane.index >= 8 for plane in labels.planes if plane.axis == 0) + 2
    assert part.geometry.matches(GEOMETRY.crop(box))


@pytest.mark.parametrize(
    ("values", "words"), [([], "No voxel"), ([0], "background"), ([1], "only|no background"), ([0, 1], None)]
)
def test_labels_that_cannot_be_learned_from_are_refused(values, words):
    array = np.full(GEOMETRY.shape, UNLABELED, np.uint8)
    for number, value in enumerate(values):
        array[number] = value
    labels = SparseLabels(array, GEOMETRY)
    if words is None:
        labels.validate()
    else:
        with pytest.raises(AnnotationError, match=words) as caught:
            labels.validate()
        assert caught.value.hint


def test_a_plane_outside_of_the_volume_is_refused():
    labels = replace(sparsify(blob().labels, GEOMETRY, (1, 1, 1)), planes=(Plane(0, 99),))
    with pytest.raises(GeometryError, match="99"):
        labels.validate()


@pytest.mark.parametrize("per_axis", [(1, 1, 1), (2, 3, 3), (3, 5, 5), (4, 0, 0), (0, 2, 0)])
@pytest.mark.parametrize("make", [blob, multi_class])
def test_planes_are_found_in_a_drawn_labelmap(make, per_axis):
    labels = sparsify(make().labels, GEOMETRY, per_axis)
    drawn = _drawn(labels)  # a finished slice on which nothing is drawn cannot be told from one that is not finished
    assert find_planes(drawn) == [plane for plane in labels.planes if drawn[plane.voxels].any()]


def test_random_planes_are_found_too():
    rng = np.random.default_rng(0)
    truth = blob(Geometry.identity((40, 44, 48))).labels
    for _ in range(10):
        planes = {Plane(axis, int(rng.integers(14, 28))) for axis in range(3) for _ in range(int(rng.integers(1, 4)))}
        planes = {plane for plane in planes if Plane(plane.axis, plane.index - 1) not in planes}
        labels = keep_planes(truth, Geometry.identity(truth.shape), planes)
        assert find_planes(_drawn(labels)) == sorted(planes)


def test_scribbles_make_no_planes_and_dense_labels_have_none():
    truth = blob().labels
    drawn = _drawn(sparsify(truth, GEOMETRY, (1, 0, 0)))
    drawn[3, 5:20, 7] = 1
    drawn[4:9, 25, 30] = 1
    assert find_planes(drawn) == list(sparsify(truth, GEOMETRY, (1, 0, 0)).planes)
    assert is_dense(truth)
    assert find_planes(truth) == []
    assert not is_dense(drawn)


def test_slices_are_spread_through_the_objects_bounding_box():
    truth = np.zeros((30, 30, 30), np.uint8)
    truth[10:21, 5:9, 2:5] = 1
    geometry = Geometry.identity(truth.shape)
    assert sparsify(truth, geometry, (1, 0, 0)).planes == (Plane(0, 15),)
    assert [plane.index for plane in sparsify(truth, geometry, (3, 0, 0)).planes] == [12, 15, 18]
    assert [plane.index for plane in sparsify_every(truth, geometry, 4).planes] == [12, 16, 20]
    with pytest.raises(AnnotationError, match="empty"):
        sparsify(np.zeros_like(truth), geometry, (1, 1, 1))


@pytest.mark.parametrize("name", ["ü 日本 a.seg.nrrd", "a.nrrd", "a.nii.gz", "a.mha"])
@pytest.mark.parametrize("geometry", list(GEOMETRIES))
def test_labels_and_planes_come_back_from_a_file(tmp_path, name, geometry):
    phantom = multi_class(GEOMETRIES[geometry])
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 1), names=("shell", "core", "rod"))
    array = labels.array.copy()
    array[1, 2, 3:6], array[1, 4, 3:6] = 0, 2
    labels = replace(labels, array=array)
    write_sparse_labels(labels, tmp_path / name)
    again = read_sparse_labels(tmp_path / name, phantom.volume.geometry)
    np.testing.assert_array_equal(again.array, labels.array)
    assert (again.planes, again.names) == (labels.planes, labels.names)


@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.nrrd"])
def test_planes_are_found_where_none_are_stored(tmp_path, name):
    labels = sparsify(blob().labels, GEOMETRY, (2, 2, 2), names=("blob",))
    write_sparse_labels(labels, tmp_path / name)
    (tmp_path / f"{name}.planes.json").unlink()
    again = read_sparse_labels(tmp_path / name)
    assert again.planes == labels.planes
    np.testing.assert_array_equal(again.array, labels.array)


def test_a_segmentation_that_slicer_cropped_is_put_back_in_its_place(tmp_path):
    phantom = blob(GEOMETRIES["oblique"])
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))
    box = labels.bounding_box("objects")
    write_labels(_drawn(labels)[box], phantom.volume.geometry.crop(box), tmp_path / "a.seg.nrrd", [default_segment(1)])
    again = read_sparse_labels(tmp_path / "a.seg.nrrd", phantom.volume.geometry)
    assert again.planes == labels.planes
    np.testing.assert_array_equal(again.array, labels.array)


def test_labels_on_another_grid_are_refused_or_resampled(tmp_path):
    phantom = blob()
    finer = GEOMETRY.with_spacing((1.0, 0.5, 0.5))
    truth = blob(finer).labels
    labels = sparsify(truth, finer, (2, 1, 1))
    write_sparse_labels(labels, tmp_path / "a.nrrd")
    with pytest.raises(GeometryError, match="grid") as caught:
        read_sparse_labels(tmp_path / "a.nrrd", GEOMETRY)
    assert "--resample" in caught.value.hint
    again = read_sparse_labels(tmp_path / "a.nrrd", GEOMETRY, resample_to=True)
    assert len(again.planes) == len(labels.planes)
    for plane in again.planes:
        drawn, expected = again.array[plane.voxels] == 1, phantom.labels[plane.voxels] == 1
        assert (drawn & expected).sum() / (drawn | expected).sum() > 0.8
        assert (again.array[plane.voxels] != UNLABELED).all()


def test_dense_labels_and_broken_plane_lists_are_refused(tmp_path):
    write_labels(blob().labels, GEOMETRY, tmp_path / "dense.nrrd")
    with pytest.raises(AnnotationError, match="dense") as caught:
        read_sparse_labels(tmp_path / "dense.nrrd")
    assert "sparsify" in caught.value.hint
    write_sparse_labels(sparsify(blob().labels, GEOMETRY, (1, 1, 1)), tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd.planes.json").write_text(json.dumps({"planes": [{"axis": "q"}]}))
    with pytest.raises(FileError, match="planes"):
        read_sparse_labels(tmp_path / "a.nrrd")


def test_scribbles_are_found_slice_by_slice_and_planes_go_together():
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 1, 2))
    for places in ((3, 4, slice(5, 9)), (3, 20, 7), (18, 30, 39)):
        labels.array[places] = 0
    np.testing.assert_array_equal(labels.scribble_points, np.argwhere(labels.scribbles))
    first, second = labels.planes[0], labels.planes[-1]
    expected = labels.without(first).without(second)
    both = labels.without(second, first)
    np.testing.assert_array_equal(both.array, expected.array)
    assert both.planes == expected.planes
    assert labels.without().planes == labels.planes
