"""OME-Zarr 0.4 and 0.5, as volume and as labels; what cannot be is refused in words."""

import json
import os
import shutil

import numpy as np
import pytest
from phantoms import oblique_geometry

from SparseSegLib.errors import DependencyError, FileError, ResourceError, UsageError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.io import (
    LabelWriter,
    SegmentInfo,
    open_parts,
    read_information,
    read_labels,
    read_volume,
    write_image,
    write_labels,
)
from SparseSegLib.io.ome_zarr import ZarrWriter, writing

zarr = pytest.importorskip("zarr")
NEW = int(zarr.__version__.split(".")[0]) >= 3
VERSIONS = ("0.4", "0.5") if NEW else ("0.4",)
SHAPE = (20, 30, 40)
GRID = Geometry(SHAPE, (2.5e-3, 5e-4, 3.5e-4), (1e-3, -2e-3, 7.5))
VOXELS = np.random.default_rng(0).integers(0, 900, (2, *SHAPE)).astype(np.uint16)
SEGMENTS = [SegmentInfo(1, "Härte", (0.2, 0.4, 0.6), "a~b~c", "AUTOMATIC"), SegmentInfo(300, "cell", (1.0, 0.0, 0.0))]

versions = pytest.mark.parametrize("version", VERSIONS)


def write(path, array=VOXELS, geometry=GRID, version="0.4", segments=None):
    path.mkdir()
    writer = ZarrWriter(path, geometry, array.dtype, channels=len(array), segments=segments, version=version)
    for z in range(0, geometry.shape[0], 7):
        writer.write(array[:, z : z + 7])
    writer.finish()
    return path


def in_format(version):
    """The arguments with which zarr writes a version of OME-Zarr."""
    return {"zarr_format": {"0.4": 2, "0.5": 3}[version]} if NEW else {}


def replace_array(path, voxels):
    shutil.rmtree(path)
    array = zarr.open_array(
        str(path), mode="w", shape=voxels.shape, chunks=voxels.shape, dtype=voxels.dtype, **in_format("0.4")
    )
    array[...] = voxels


def notes(path):
    """The file with OME-Zarr's description, and what it says."""
    file = path / ("zarr.json" if (path / "zarr.json").exists() else ".zattrs")
    whole = json.loads(file.read_text())
    return file, whole, whole["attributes"]["ome"] if "attributes" in whole else whole


def change(path, edit):
    file, whole, described = notes(path)
    edit(described)
    file.write_text(json.dumps(whole))
    return path


@versions
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_voxels_and_grid_survive(tmp_path, version, channels, dtype):
    path = write(tmp_path / "a.ome.zarr", VOXELS[:channels].astype(dtype), version=version)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, VOXELS[:channels].astype(dtype))
    assert volume.name == "a" and volume.geometry.matches(GRID)
    information = read_information(path)
    assert (information.shape, information.channels, information.voxel_type) == (SHAPE, channels, dtype)
    assert information.spacing == pytest.approx(GRID.spacing)


@versions
@pytest.mark.parametrize(("scale", "unit"), [(1.0, "millimeter"), (1e-3, "micrometer"), (1e-6, "nanometer")])
def test_units_are_those_that_fit(tmp_path, version, scale, unit):
    grid = Geometry(SHAPE, (3.5 * scale, 0.7 * scale, 0.7 * scale))
    path = write(tmp_path / "a.zarr", VOXELS[:1], grid, version)
    image = notes(path)[2]["multiscales"][0]
    assert {axis["unit"] for axis in image["axes"]} == {unit}
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [3.5, 0.7, 0.7]
    assert read_volume(path).geometry.spacing == pytest.approx(grid.spacing)


@versions
def test_labels_keep_names_and_colors(tmp_path, version):
    labels = (VOXELS[:1] % 2) * 300
    path = write(tmp_path / "a.zarr", labels, version=version, segments=SEGMENTS)
    read, geometry, segments = read_labels(path)
    np.testing.assert_array_equal(read, labels[0])
    assert geometry.matches(GRID) and segments == SEGMENTS


@versions
def test_the_labels_in_an_image_are_read_as_its_labels(tmp_path, version):
    image = write(tmp_path / "a.zarr", version=version)
    labels = VOXELS[:1] % 3
    group = zarr.open_group(str(image / "labels"), mode="w", **in_format(version))
    listed = {"labels": ["cells"]}
    group.attrs.update(listed if version == "0.4" else {"ome": listed})
    write(image / "labels" / "cells", labels, version=version, segments=SEGMENTS[:1])
    for path in (image, image / "labels" / "cells"):
        np.testing.assert_array_equal(read_labels(path)[0], labels[0])
        assert [segment.name for segment in read_labels(path)[2]] == ["Härte", "Segment_2"]
    np.testing.assert_array_equal(read_volume(image).array, VOXELS)
    listed = {"labels": ["a", "b"]}
    group.attrs.update(listed if version == "0.4" else {"ome": listed})
    with pytest.raises(FileError, match="2 images of labels"):
        read_labels(image)


def test_coarser_resolutions_have_every_second_voxel(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", (4, 8, 8))
    labels = VOXELS[:1] % 5
    path = write(tmp_path / "a.zarr", labels, Geometry(SHAPE, (2.0, 0.5, 0.5), (1, 2, 3)), VERSIONS[-1], SEGMENTS)
    sets = notes(path)[2]["multiscales"][0]["datasets"]
    factors = [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8), (4, 16, 16)]
    for one, (z, y, x) in zip(sets, factors, strict=True):
        scale, translation = one["coordinateTransformations"]
        assert scale["scale"] == [2.0 * z, 0.5 * y, 0.5 * x] and translation["translation"] == [3, 2, 1]
        array = zarr.open_array(str(path / one["path"]), mode="r")
        np.testing.assert_array_equal(array[:], labels[0, ::z, ::y, ::x])


@versions
def test_a_part_costs_its_chunks(tmp_path, monkeypatch, version):
    monkeypatch.setattr(writing, "CHUNK", (4, 8, 8))
    path = write(tmp_path / "a.zarr", version=version)
    parts = open_parts(path)
    box = (slice(5, 7), slice(9, 15), slice(17, 30))
    for chunk in [file for file in (path / "0").rglob("*") if file.is_file() and not file.name.startswith((".", "z"))]:
        z, y, x = map(int, chunk.parts[-3:])
        if z != 1 or y != 1 or x not in (2, 3):
            chunk.write_bytes(b"never read")
    np.testing.assert_array_equal(parts.read(box), VOXELS[(slice(None), *box)])
    with pytest.raises(FileError, match="damaged"):
        parts.read((slice(0, 9), *box[1:]))


def test_the_command_lines_writers_take_it(tmp_path):
    write_image(VOXELS, GRID, tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.ome.zarr").array, VOXELS)
    write_labels(VOXELS[0] % 2, GRID, tmp_path / "a.ome.zarr", SEGMENTS[:1])
    with LabelWriter(tmp_path / "b.zarr", GRID, segments=SEGMENTS[:1]) as writer:
        writer.write((slice(3, 9), slice(0, 30), slice(5, 10)), VOXELS[0, 3:9, :, 5:10] % 2)
    read, _, segments = read_labels(tmp_path / "b.zarr")
    np.testing.assert_array_equal(read[3:9, :, 5:10], VOXELS[0, 3:9, :, 5:10] % 2)
    assert not read[:3].any() and segments == SEGMENTS[:1] == read_labels(tmp_path / "a.ome.zarr")[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ome.zarr", "b.zarr"]


def test_what_it_cannot_keep_is_refused(tmp_path):
    with pytest.raises(FileError, match="no place for the orientation"):
        write_image(VOXELS[0], oblique_geometry(SHAPE), tmp_path / "a.zarr")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "thesis.txt").write_text("mine")
    with pytest.raises(FileError, match="something else"):
        write_image(VOXELS[0], GRID, tmp_path / "b.zarr")
    with pytest.raises(UsageError, match="one value"):
        write_labels(VOXELS[0], GRID, tmp_path / "c.zarr", [SEGMENTS[0]] * 2)
    assert [path.name for path in tmp_path.iterdir()] == ["b.zarr"]


@pytest.mark.parametrize("names", ["zyx", "xyz", "yzx", "tczyx"])
def test_axes_in_any_order(tmp_path, names):
    path = write(tmp_path / "a.zarr", VOXELS[:1], version="0.4")
    wanted = [*sorted(set("tczyx").difference(names)), *names]
    stored = VOXELS[:1][None].transpose(["tczyx".index(axis) for axis in wanted])
    stored = stored.reshape(stored.shape[-len(names) :])
    replace_array(path / "0", stored)

    def edit(described):
        image, kinds = described["multiscales"][0], {"t": "time", "c": "channel"}
        image["axes"] = [{"name": axis, "type": kinds.get(axis, "space")} for axis in names]
        scale = [{"z": 3.0, "y": 2.0}.get(axis, 1.0) for axis in names]
        image["datasets"] = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
        image["coordinateTransformations"] = [{"type": "scale", "scale": [2.0] * len(names)}]

    volume = read_volume(change(path, edit))
    np.testing.assert_array_equal(volume.array, VOXELS[:1])
    assert volume.geometry.spacing == (6, 4, 2)
    if names == "tczyx":
        with pytest.raises(VolumeError, match="time series"):
            replace_array(path / "0", np.repeat(stored, 2, axis=0))
            read_volume(path)


def _first(described):
    return described["multiscales"][0]


HOSTILE = {
    "no description": (lambda notes: notes.clear(), "no description"),
    "no images": (lambda notes: notes.update(multiscales=[]), "describes no image"),
    "several images": (lambda notes: notes.update(multiscales=[_first(notes)] * 2), "2 images"),
    "a text": (lambda notes: notes.update(multiscales="image"), "describes no image"),
    "an old version": (lambda notes: (_first(notes).update(version="0.3"), notes.update(version="0.3")), "version"),
    "axes without names": (lambda notes: _first(notes).update(axes=[1, 2, 3]), "no names"),
    "other axes": (lambda notes: _first(notes)["axes"].__setitem__(0, {"name": "q", "type": "phase"}), "axes"),
    "two x": (lambda notes: _first(notes)["axes"][1].update(name="x"), "axes"),
    "too few axes": (lambda notes: _first(notes)["axes"].pop(), "axes|transformation"),
    "no arrays": (lambda notes: _first(notes).update(datasets=[]), "no array"),
    "a way out": (lambda notes: _first(notes)["datasets"][0].update(path="../b/0"), "names"),
    "the root": (lambda notes: _first(notes)["datasets"][0].update(path="/etc"), "names"),
    "nothing there": (lambda notes: _first(notes)["datasets"][0].update(path="9"), "no OME-Zarr"),
    "a number as path": (lambda notes: _first(notes)["datasets"][0].update(path=7), "names"),
    "no scale": (lambda notes: _first(notes)["datasets"][0].pop("coordinateTransformations"), "how far apart"),
    "scale of 0": (
        lambda notes: _first(notes)["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": [0, 1, 1]}]
        ),
        "grid that cannot be",
    ),
    "a huge scale": (
        lambda notes: _first(notes)["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": [10**400, 1, 1]}]
        ),
        "transformation",
    ),
    "a rotation": (
        lambda notes: _first(notes)["datasets"][0].update(
            coordinateTransformations=[{"type": "rotation", "rotation": [[1]]}]
        ),
        "transformation",
    ),
    "a plate": (lambda notes: (notes.pop("multiscales"), notes.update(plate={})), "plate"),
    "several series": (
        lambda notes: (notes.pop("multiscales"), notes.update({"bioformats2raw.layout": 3})),
        "description|images",
    ),
}


def refused(path, words):
    for read in (read_volume, read_information, read_labels):
        with pytest.raises((FileError, VolumeError), match=words) as caught:
            read(path)
        assert caught.value.hint


@versions
@pytest.mark.parametrize("kind", HOSTILE)
def test_descriptions_that_cannot_be(tmp_path, version, kind):
    edit, words = HOSTILE[kind]
    refused(change(write(tmp_path / "a.zarr", VOXELS[:1], version=version), edit), words)


ARRAYS_2 = {
    "pickles": {"dtype": "|O", "filters": [{"id": "pickle"}]},
    "a pickle": {"compressor": {"id": "pickle"}},
    "an unknown filter": {"filters": [{"id": "mine"}]},
    "no list": {"filters": {"id": "delta"}},
    "records": {"dtype": [["a", "<i4"]]},
    "text": {"dtype": "<U4"},
    "no chunks": {"chunks": None},
    "flat": {"chunks": [20, 30]},
    "a size of 0": {"shape": [0, 30, 40]},
    "a half": {"shape": [20, 30, 40.5]},
    "true": {"shape": [True, 30, 40]},
    "another format": {"zarr_format": 7},
    "odd names": {"dimension_separator": "../"},
}
ARRAYS_3 = {
    "a pickle": {"codecs": [{"name": "numcodecs.pickle"}]},
    "an unknown codec": {"codecs": [{"name": "mine"}]},
    "no codecs": {"codecs": None},
    "hidden": {
        "codecs": [
            {"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 1, 1], "codecs": [{"name": "mine"}]}}
        ]
    },
    "another grid": {"chunk_grid": {"name": "rectilinear"}},
    "text": {"data_type": "string"},
    "odd names": {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "../"}}},
    "other names": {"chunk_key_encoding": {"name": "mine"}},
    "a transformer": {"storage_transformers": [{"name": "mine"}]},
    "a group": {"node_type": "group"},
    "something": {"node_type": "something"},
}


@pytest.mark.parametrize(
    ("version", "changes"),
    [
        *(("0.4", one) for one in ARRAYS_2.values()),
        *(("0.5", one) for one in ARRAYS_3.values() if NEW),
    ],
)
def test_arrays_that_cannot_be(tmp_path, version, changes):
    path = write(tmp_path / "a.zarr", VOXELS[:1], version=version)
    file = path / "0" / (".zarray" if version == "0.4" else "zarr.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    refused(path, "array|header|image")


def test_more_than_the_memory_is_refused(tmp_path):
    path = write(tmp_path / "a.zarr", VOXELS[:1], version="0.4")
    file = path / "0" / ".zarray"
    before = json.loads(file.read_text())
    for sizes in ({"shape": [1 << 20] * 3}, {"chunks": [1 << 20] * 3}):
        file.write_text(json.dumps(before | sizes))
        with pytest.raises(ResourceError, match="memory"):
            read_volume(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 99_999, '{"multiscales": [NaN]}'])
def test_torn_descriptions(tmp_path, content):
    path = write(tmp_path / "a.zarr", VOXELS[:1], version="0.4")
    (path / ".zattrs").write_text(content)
    refused(path, "cannot be read|no object")


@versions
def test_damaged_chunks_are_refused(tmp_path, version):
    path = write(tmp_path / "a.zarr", VOXELS[:1], version=version)
    chunk = next(file for file in (path / "0").rglob("*") if file.is_file() and file.name == "0")
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(FileError, match="damaged"):
        read_volume(path)


@versions
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_chunks_that_are_no_files_are_refused(tmp_path, version):
    path = write(tmp_path / "a.zarr", VOXELS[:1], version=version)
    chunk = next(file for file in (path / "0").rglob("*") if file.is_file() and file.name == "0")
    chunk.unlink()
    assert not read_volume(path).array.any()
    os.mkfifo(chunk)
    with pytest.raises(FileError, match="not a regular file"):
        read_volume(path)


@versions
def test_an_array_alone_is_no_image(tmp_path, version):
    path = write(tmp_path / "a.zarr", VOXELS[:1], version=version)
    refused(path / "0", "without the description")


@pytest.mark.skipif(not NEW, reason="writes version 3")
def test_zarr_2_refuses_version_3(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zarr", VOXELS[:1], version="0.5")
    monkeypatch.setattr(zarr, "__version__", "2.18.3")
    with pytest.raises(DependencyError, match=r"zarr 2\.18\.3"):
        read_volume(path)
    with pytest.raises(DependencyError, match="needs zarr 3"):
        write(tmp_path / "b.zarr", version="0.5")


def test_without_zarr_it_says_so(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zarr", VOXELS[:1])
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    for attempt in (lambda: read_volume(path), lambda: write_image(VOXELS[0], GRID, tmp_path / "b.zarr")):
        with pytest.raises(DependencyError, match="package zarr"):
            attempt()


@versions
def test_another_reader_finds_the_same(tmp_path, version):
    ngff = pytest.importorskip("ngff_zarr")
    path = write(tmp_path / "a.ome.zarr", version=version)
    image = ngff.from_ngff_zarr(str(path), validate=False).images[0]
    np.testing.assert_array_equal(np.asarray(image.data), VOXELS)
    assert image.dims == ("c", "z", "y", "x") and image.axes_units["x"] == "micrometer"
    assert [image.scale[axis] for axis in "zyx"] == [2.5, 0.5, 0.35]
    assert [image.translation[axis] for axis in "xyz"] == [1, -2, 7500]


@versions
def test_what_another_writer_wrote(tmp_path, version):
    ngff = pytest.importorskip("ngff_zarr")
    units = {"z": "micrometer", "y": "micrometer", "x": "nanometer"}
    image = ngff.to_ngff_image(
        VOXELS,
        dims=["c", "z", "y", "x"],
        scale={"z": 2.0, "y": 0.5, "x": 250.0},
        translation={"z": 1.0, "y": 2.0, "x": 3.0},
        axes_units=units,
    )
    ngff.to_ngff_zarr(str(tmp_path / "a.zarr"), ngff.to_multiscales(image, scale_factors=[]), version=version)
    volume = read_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(volume.array, VOXELS)
    assert volume.geometry.matches(Geometry(SHAPE, (2e-3, 5e-4, 2.5e-4), (3e-6, 2e-3, 1e-3)))
