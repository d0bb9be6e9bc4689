"""Labels written slab by slab are those that are written whole, in every format."""

import errno

import numpy as np
import pytest
from phantoms import oblique_geometry

from SparseSegLib.errors import FileError, GeometryError, ResourceError, UsageError
from SparseSegLib.image import Geometry
from SparseSegLib.io import (
    LabelWriter,
    SegmentInfo,
    open_parts,
    raw_slabs,
    read_labels,
    read_volume,
    tiff_writing,
    write_labels,
)

SHAPE = (12, 30, 40)
SEGMENTS = [
    SegmentInfo(1, "Härte", (0.2, 0.4, 0.6), "a~b~c", "AUTOMATIC"),
    SegmentInfo(7, "vessel", (1.0, 0.0, 0.0)),
    SegmentInfo(9, "nowhere", (0.0, 0.0, 1.0)),
]
SLABS = [slice(0, 5), slice(5, 6), slice(6, 12)]


def labels():
    array = np.zeros(SHAPE, np.uint8)
    array[2:7, 3:9, 20:33] = 1
    array[5:11, 20:29, 2:9] = 7
    return array


def grid(name):
    if name.endswith((".tif", ".zarr")):
        return Geometry.identity(SHAPE, (2, 0.5, 0.25))
    return Geometry(SHAPE, (2, 0.5, 0.25), (3, 4, 5)) if ".nii" in name else oblique_geometry(SHAPE)


def write(path, array, geometry, segments=SEGMENTS, **more):
    with LabelWriter(path, geometry, array.dtype, segments, **more) as writer:
        for z in SLABS:
            writer.write((z, slice(0, SHAPE[1]), slice(0, SHAPE[2])), array[z])
    return path


@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.nrrd", "a.mha", "a.nii", "a.nii.gz", "a.tif", "a.ome.zarr"])
def test_slabs_are_the_whole(tmp_path, name):
    if name.endswith(".zarr"):
        pytest.importorskip("zarr")
    write_labels(labels(), grid(name), tmp_path / f"whole-{name}", SEGMENTS)
    write(tmp_path / name, labels(), grid(name))
    for ours, theirs in zip(read_labels(tmp_path / name), read_labels(tmp_path / f"whole-{name}"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_segmentation_is_what_slicer_writes(tmp_path):
    import SimpleITK as sitk

    write_labels(labels(), grid(".nrrd"), tmp_path / "whole.seg.nrrd", SEGMENTS)
    write(tmp_path / "slabs.seg.nrrd", labels(), grid(".nrrd"))
    keys = []
    for name in ("whole", "slabs"):
        image = sitk.ReadImage(str(tmp_path / f"{name}.seg.nrrd"))
        keys.append({key: image.GetMetaData(key) for key in image.GetMetaDataKeys()})
    assert keys[0] == keys[1] and keys[0]["Segment1_Extent"] == "2 8 20 28 5 10"


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii", "a.tif"])
def test_what_is_not_written_is_background(tmp_path, name):
    box = (slice(3, 5), slice(2, 20), slice(10, 30))
    with LabelWriter(tmp_path / name, grid(name)) as writer:
        writer.write(box, np.full((2, 18, 20), 7))
    expected = np.zeros(SHAPE, np.uint8)
    expected[box] = 7
    np.testing.assert_array_equal(read_labels(tmp_path / name)[0], expected)


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32"])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "a.tif"])
def test_other_types(tmp_path, name, dtype):
    write(tmp_path / name, (labels() * 30).astype(dtype), grid(name), ())
    np.testing.assert_array_equal(read_volume(tmp_path / name).array[0], labels() * 30.0)


def test_uncompressed_results_can_be_read_in_parts(tmp_path):
    parts = open_parts(write(tmp_path / "a.seg.nrrd", labels(), grid(".nrrd"), compress=False))
    box = (slice(4, 7), slice(3, 30), slice(0, 8))
    np.testing.assert_array_equal(parts.read(box)[0], labels()[box])


def test_large_stacks_are_big_tiff(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_writing, "_MOST_FOR_IMAGEJ", labels().nbytes)
    write(tmp_path / "slabs.tif", labels(), grid(".tif"))
    write_labels(labels(), grid(".tif"), tmp_path / "whole.tif")
    for name in ("slabs.tif", "whole.tif"):
        assert (tmp_path / name).read_bytes()[:4] == b"II+\0"
        read, geometry, _ = read_labels(tmp_path / name)
        np.testing.assert_array_equal(read, labels())
        assert geometry.matches(grid(".tif"))


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "a.tif"])
def test_a_failure_leaves_what_was_there(tmp_path, name):
    write(tmp_path / name, labels(), grid(name))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(KeyError), LabelWriter(tmp_path / name, grid(name)) as writer:
        writer.write((slice(0, 1), slice(0, 2), slice(0, 2)), np.ones((1, 2, 2)))
        raise KeyError
    assert (tmp_path / name).read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(self, slab):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(raw_slabs.RawSlabs, "write", full)
    with pytest.raises(ResourceError, match="full"):
        write(tmp_path / "a.nrrd", labels(), grid(".nrrd"))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused(tmp_path):
    for name, kind in (("a.tif", FileError), ("a.vtk", UsageError), ("no/a.nrrd", FileError)):
        with pytest.raises(kind):
            LabelWriter(tmp_path / name, oblique_geometry(SHAPE))
    with pytest.raises(UsageError, match="one value"):
        LabelWriter(tmp_path / "a.seg.nrrd", grid(".nrrd"), segments=[SEGMENTS[0]] * 2)
    with pytest.raises(GeometryError, match="order"), LabelWriter(tmp_path / "a.nrrd", grid(".nrrd")) as writer:
        for z in (slice(4, 6), slice(5, 7)):
            writer.write((z, slice(0, 2), slice(0, 2)), np.ones((2, 2, 2)))
    assert not list(tmp_path.iterdir())
