"""Large volumes stay on the disk, and large arrays lie in files: what comes out is the same."""

import errno
import pickle
import tempfile

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from phantoms import blob

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.control import Control
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.experts import ExtraTreesRecipe, SliceUNetRecipe
from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.image import Geometry, Volume, large_array
from SparseSegLib.image.large_array import copy_of, is_large, new_array
from SparseSegLib.io import on_disk, open_volume, read_labels, read_volume, write_image
from SparseSegLib.worker.densify_task import densify_task

SHAPE = (20, 32, 40)
BOX = (slice(3, 7), slice(4, 30), slice(11, 39))
VOXELS = np.random.default_rng(0).integers(0, 255, (2, *SHAPE)).astype(np.int16)
GRID = Geometry(SHAPE, (2.0, 1.0, 1.0))


@pytest.fixture(autouse=True)
def _little_is_large(monkeypatch):
    monkeypatch.setattr(on_disk, "LARGE_VOXELS", 1000)
    monkeypatch.setattr(large_array, "LARGE", 1000)
    monkeypatch.setattr(large_array, "_BLOCK", 300)


@pytest.fixture
def files(monkeypatch):
    """The files of arrays that are made."""
    made = []

    def make(*arguments, **more):
        made.append(original(*arguments, **more))
        return made[-1]

    original = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", make)
    return made


@pytest.mark.parametrize(("dtype", "fill"), [(np.uint8, 255), (np.int32, 0), (np.float32, 1.5)])
def test_a_large_array_lies_in_a_file(files, dtype, fill):
    array = new_array((7, 11, 23), dtype, fill)
    assert type(array) is np.ndarray and array.dtype == dtype and (array == fill).all()
    array[3] = 9
    assert (array[3] == 9).all() and (array[4] == fill).all()
    assert len(files) == 1 and is_large(array)
    assert (copy_of(array) == array).all() and len(files) == 2
    assert not is_large(new_array((2, 3), dtype)) and len(files) == 2


def test_where_the_disk_is_full_it_is_in_memory(monkeypatch):
    def refuse():
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert (new_array((20, 20, 20), np.uint8, 3) == 3).all()


def in_zarr(path, voxels=VOXELS):
    pytest.importorskip("zarr")
    write_image(voxels, GRID, path)
    return path


def written(path, voxels=VOXELS):
    if path.name.endswith(".zarr"):
        return in_zarr(path, voxels)
    if path.suffix == ".tif":
        tifffile.imwrite(
            path, voxels.swapaxes(0, 1), byteorder=">", imagej=True, metadata={"axes": "ZCYX", "spacing": 2}
        )
    else:
        sitk.WriteImage(GRID.to_sitk(voxels if len(voxels) > 1 else voxels[0]), str(path))
    return path


@pytest.mark.parametrize("name", ["a.mhd", "a.nrrd", "a.tif", "a.ome.zarr"])
@pytest.mark.parametrize("channels", [1, 2])
def test_boxes_are_those_of_the_whole(tmp_path, name, channels):
    path = written(tmp_path / name, VOXELS[:channels])
    whole, volume = read_volume(path), open_volume(path)
    assert volume.on_disk and volume.channels == channels and volume.geometry == whole.geometry
    assert volume.part(BOX).dtype.newbyteorder("=") == np.int16
    np.testing.assert_array_equal(volume.part(BOX), whole.part(BOX))
    np.testing.assert_array_equal(volume.crop(BOX).array, whole.crop(BOX).array)
    assert volume.loaded().array.dtype == np.float32
    np.testing.assert_array_equal(volume.loaded().array, whole.array)
    np.testing.assert_array_equal(np.asarray(volume.array, np.float32), whole.array)
    assert volume.name == whole.name and whole.loaded() is whole


def test_channels_in_files_of_their_own(tmp_path):
    paths = [written(tmp_path / f"{number}.nrrd", VOXELS[[number]]) for number in range(2)]
    np.testing.assert_array_equal(open_volume(paths).part(BOX), read_volume(paths).part(BOX))
    assert open_volume(paths).on_disk
    write_image(VOXELS[0], GRID, paths[1])  # compressed
    assert not open_volume(paths).on_disk
    np.testing.assert_array_equal(open_volume(paths).part(BOX), VOXELS[[0, 0]][(slice(None), *BOX)])


def test_what_cannot_be_read_in_parts_keeps_its_type(tmp_path, monkeypatch):
    write_image(VOXELS[0], GRID, tmp_path / "a.nrrd")
    volume = open_volume(tmp_path / "a.nrrd")
    assert not volume.on_disk and volume.array.dtype == np.int16
    monkeypatch.setattr(on_disk, "LARGE_VOXELS", 10**6)
    assert open_volume(tmp_path / "a.nrrd").array.dtype == np.float32


def test_chunks_are_unpacked_once_and_no_others(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    path = in_zarr(tmp_path / "a.ome.zarr")
    (level,) = (one for one in path.iterdir() if one.name == "0")
    stored = zarr.open_array(str(level), mode="r")
    more = {"zarr_format": 2} if int(zarr.__version__.split(".")[0]) >= 3 else {}
    small = zarr.open_array(str(level), mode="w", shape=stored.shape, chunks=(1, 8, 8, 8), dtype=stored.dtype, **more)
    small[...] = VOXELS
    volume, read = open_volume(path), []
    image = volume.array._voxels[0]._image
    original = type(image).read
    monkeypatch.setattr(type(image), "read", lambda self, box: read.append(box) or original(self, box))
    box = (slice(9, 15), slice(0, 8), slice(7, 17))
    for _ in range(2):
        np.testing.assert_array_equal(volume.part(box), VOXELS[(slice(None), *box)])
    assert read == [(slice(8, 16), slice(0, 8), slice(x, x + 8)) for x in (0, 8, 16)]


@pytest.mark.parametrize("name", ["a.mhd", "a.ome.zarr"])
def test_another_process_opens_the_same_files(tmp_path, name):
    volume = pickle.loads(pickle.dumps(open_volume(written(tmp_path / name))))
    np.testing.assert_array_equal(volume.part(BOX), VOXELS[(slice(None), *BOX)])


def test_a_file_that_became_shorter_is_refused(tmp_path):
    path = written(tmp_path / "a.mhd")
    parts = on_disk.open_parts(path)
    (tmp_path / "a.raw").write_bytes((tmp_path / "a.raw").read_bytes()[:-1])
    with pytest.raises(FileError, match="ends before"):
        parts.mapped()


@pytest.fixture
def case(tmp_path):
    """A volume in a file, and its annotation in another."""
    phantom = blob()
    labels = sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))
    gray = phantom.volume.array[0]
    gray = np.rint((gray - gray.min()) / (gray.max() - gray.min()) * 255).astype(np.uint8)
    write_image(gray, phantom.volume.geometry, tmp_path / "image.nrrd", compress=False)
    write_sparse_labels(labels, tmp_path / "drawn.seg.nrrd")
    return Volume(gray.astype(np.float32), phantom.volume.geometry), labels, tmp_path


def test_a_job_on_the_disk_has_the_result_of_one_in_memory(case, files, monkeypatch):
    *_, folder = case
    monkeypatch.setattr(DensifySettings, "most_voxels", property(lambda self: 4000))
    settings = {
        "budget_steps": 3,
        "budget_counts": "learning",
        "device": "cpu",
        "experts": ["slice-unet", "extra-trees"],
    }
    inputs = {"volumes": [str(folder / "image.nrrd")], "labels": str(folder / "drawn.seg.nrrd")}
    found = []
    for large in (1000, 10**9):
        monkeypatch.setattr(on_disk, "LARGE_VOXELS", large)
        monkeypatch.setattr(large_array, "LARGE", large)
        work = folder / str(large)
        work.mkdir()
        names, figures = densify_task(work, {"inputs": inputs, "settings": settings}, Control())
        found.append((read_labels(work / names["dense"]), read_volume(work / names["uncertainty"]).array, figures))
        assert len(files) > 4
    (own, doubts, figures), (theirs, other_doubts, other_figures) = found
    np.testing.assert_array_equal(own[0], theirs[0])
    np.testing.assert_array_equal(doubts, other_doubts)
    assert own[1] == theirs[1] and own[2] == theirs[2]
    assert {**figures, "seconds": 0} == {**other_figures, "seconds": 0}


def test_of_a_volume_on_the_disk_the_region_is_checked(case, monkeypatch):
    volume, labels, folder = case
    settings = DensifySettings(
        budget_steps=1, device="cpu", experts=(SliceUNetRecipe(widths=(4, 8), crop=32), ExtraTreesRecipe(trees=4))
    )
    gray = volume.array[0].copy()
    gray[0, 0, 0] = np.nan
    write_image(gray, volume.geometry, folder / "nan.nrrd", compress=False)
    damaged = open_volume(folder / "nan.nrrd")
    assert damaged.on_disk and densify(damaged, labels, settings).labels.any()
    with pytest.raises(VolumeError, match="1 voxels"):
        densify(damaged.loaded(), labels, settings)
    gray[SHAPE[0] // 2] = np.nan
    write_image(gray, volume.geometry, folder / "nan.nrrd", compress=False)
    with pytest.raises(VolumeError, match="not a number"):
        densify(open_volume(folder / "nan.nrrd"), labels, settings)
