"""Lists of planes that anybody may have written: whatever is wrong with them is said, and costs nothing."""

import json
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import blob

from SparseSegLib.annotation import Plane, keep_planes, read_sparse_labels, sparsify, write_sparse_labels
from SparseSegLib.errors import FileError, SparseSegError
from SparseSegLib.image import Geometry

GEOMETRY = Geometry.identity((20, 24, 28))
TRUTH = blob(GEOMETRY).labels
GRID = {"shape": [20, 24, 28], "spacing": [1, 1, 1], "origin": [0, 0, 0], "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}


@pytest.fixture(params=["a.nrrd", "a.seg.nrrd"])
def labels(request, tmp_path):
    """A file of labels with a list of planes beside it, and how to change that."""
    path = tmp_path / request.param
    write_sparse_labels(sparsify(TRUTH, GEOMETRY, (1, 1, 1), ("blob",)), path)
    beside = tmp_path / f"{request.param}.planes.json"

    def change(**other):
        text = json.dumps({**json.loads(beside.read_text(encoding="utf-8")), **other})
        beside.write_text(text.replace('"INFINITE"', "1e999"), encoding="utf-8")

    return path, change


@pytest.mark.parametrize(
    "other",
    [
        {"planes": [{"axis": "z", "index": "INFINITE"}]},
        {"planes": [{"axis": "z", "index": 10**300}]},
        {"planes": [{"axis": "z", "index": 1.5}]},
        {"planes": [{"axis": "z", "index": True}]},
        {"planes": [{"axis": "z", "index": "3"}]},
        {"planes": [{"axis": ["z"], "index": 3}]},
        {"planes": [{"axis": 0, "index": 3}]},
        {"planes": [{"index": 3}]},
        {"planes": [3]},
        {"planes": 3},
        {"planes": None},
        {"names": [3]},
        {"names": 3},
        {"values": [1, 2, 3]},
        {"values": ["1"]},
        {"checksum": 3},
        {"oblique": [{"point": ["INFINITE", 0, 0], "normal": [0, 0, 1]}]},
        {"oblique": [{"point": [0, 0, 0], "normal": [0, 0, 1e-300]}]},
        {"oblique": [{"point": [0, 0, 0], "normal": [0, 0, 1e300]}]},
        {"oblique": [{"point": [0, 0], "normal": [0, 0, 1]}]},
        {"oblique": 3},
        {"geometry": {**GRID, "shape": [20, 24]}},
        {"geometry": {**GRID, "shape": [20, 24, 28.5]}},
        {"geometry": {**GRID, "shape": ["INFINITE", 24, 28]}},
        {"geometry": {**GRID, "shape": [-20, 24, 28]}},
        {"geometry": {**GRID, "spacing": [1, 1, "INFINITE"]}},
        {"geometry": {**GRID, "spacing": [1, 1, 1e-300]}},
        {"geometry": {**GRID, "spacing": [1, 1, 0]}},
        {"geometry": {**GRID, "origin": [1e300, 0, 0]}},
        {"geometry": {**GRID, "direction": [0] * 9}},
        {"geometry": {**GRID, "more": 3}},
        {"geometry": {"shape": [1, 1, 1]}},
        {"geometry": [3]},
        {"geometry": "x"},
    ],
)
def test_lists_that_cannot_be_are_refused_in_words(labels, other):
    path, change = labels
    change(**other)
    with pytest.raises(FileError, match=r"planes\.json") as caught:
        read_sparse_labels(path, GEOMETRY)
    assert "Delete" in caught.value.hint


@pytest.mark.parametrize("text", [b"", b"[" * 200_000, b"3", b"[]", b"null", b"NaN", b"\xff", b'{"planes": [NaN]}'])
def test_files_that_are_no_list_are_refused_in_words(labels, text):
    path, _ = labels
    path.with_name(f"{path.name}.planes.json").write_bytes(text)
    with pytest.raises(FileError, match=r"planes\.json"):
        read_sparse_labels(path)


@pytest.mark.parametrize("shape", [[1000, 1000, 1000], [10**9, 1, 1], [10**12, 24, 28], [20, 24, 2**40]])
@pytest.mark.parametrize("give_reference", [True, False])
def test_a_giant_grid_takes_no_memory(labels, shape, give_reference):
    path, change = labels
    change(geometry={**GRID, "shape": shape})
    tracemalloc.start()
    with pytest.raises(SparseSegError):
        read_sparse_labels(path, GEOMETRY if give_reference else None)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("value", [70_000, 400_000_000, 2**31 - 1])
def test_giant_values_are_no_lengths(tmp_path, value):
    array = np.zeros(GEOMETRY.shape, np.int32)
    array[10, 8:14, 8:14] = value
    image = GEOMETRY.to_sitk(array)
    image.SetMetaData("Segment0_ID", "s")
    image.SetMetaData("Segment0_Name", "liver")
    image.SetMetaData("Segment0_LabelValue", str(value))
    image.SetMetaData("Segment0_Layer", "0")
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    labels = read_sparse_labels(tmp_path / "a.seg.nrrd")
    assert (labels.own_values, labels.own_names, labels.planes) == ((value,), ("liver",), (Plane(0, 10),))
    write_sparse_labels(labels, tmp_path / "b.nii.gz")
    again = read_sparse_labels(tmp_path / "b.nii.gz")
    assert (again.own_values, again.own_names, again.planes) == ((value,), ("liver",), (Plane(0, 10),))


def test_lists_of_today_still_name_the_structures(tmp_path):
    labels = keep_planes(np.where(TRUTH, 2, 0), GEOMETRY, [Plane(0, 10)], ("liver", "spleen"))
    write_sparse_labels(labels, tmp_path / "a.nrrd")
    beside = tmp_path / "a.nrrd.planes.json"
    content = json.loads(beside.read_text(encoding="utf-8"))
    assert content["names"] == ["liver", "spleen"]
    del content["values"]
    beside.write_text(json.dumps(content), encoding="utf-8")
    again = read_sparse_labels(tmp_path / "a.nrrd")
    assert (again.own_values, again.own_names, again.empty) == ((2,), ("spleen",), ((1, "liver"),))
