"""Whatever is written comes back the same, in every format that keeps it; else the writing is refused."""

import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.files import write_json
from SparseSegLib.image import Geometry
from SparseSegLib.io import (
    SegmentInfo,
    check_writable,
    read_information,
    read_labels,
    read_volume,
    write_image,
    write_labels,
)

quick = settings(max_examples=25, deadline=None)

FORMATS = (".nrrd", ".mha", ".nii", ".nii.gz", ".tif")
TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32)
SHAPES = st.tuples(*[st.integers(2, 6)] * 3)
LENGTHS = st.floats(1e-4, 50)
POSITIONS = st.floats(-500, 500)
KEPT = 1e-2  # voxels: a format that does not keep the grid to this is refused


@st.composite
def directions(draw):
    """Axes turned by any angles, flipped or swapped, at times sheared."""
    a, b, c = (draw(st.floats(-np.pi, np.pi)) for _ in range(3))
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = draw(st.sampled_from([np.eye(3), x @ y @ z]))
    matrix = matrix * [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    if draw(st.integers(0, 4)) == 0:
        matrix = matrix.copy()
        matrix[:, 2] += draw(st.floats(-0.5, 0.5)) * matrix[:, 1]
        matrix[:, 2] /= np.linalg.norm(matrix[:, 2])
    return tuple(matrix[:, draw(st.permutations(range(3)))].ravel())


@st.composite
def geometries(draw, plain=False):
    """A grid of a few voxels anywhere; a plain one has its axes along LPS and lies at the physical zero."""
    shape, spacing = draw(SHAPES), draw(st.tuples(LENGTHS, LENGTHS, LENGTHS))
    if plain:
        return Geometry(shape, spacing)
    return Geometry(shape, spacing, draw(st.tuples(*[POSITIONS] * 3)), draw(directions()))


@st.composite
def images(draw, suffix):
    """An array (C, Z, Y, X) of any type and its grid."""
    geometry = draw(geometries(plain=suffix == ".tif"))
    dtype = draw(st.sampled_from(TYPES))
    channels = draw(st.sampled_from([1, 1, 2]))
    if dtype == np.float32:
        elements = st.floats(allow_nan=False, allow_infinity=False, width=32)
    else:
        elements = some.from_dtype(np.dtype(dtype))
    return draw(some.arrays(dtype, (channels, *geometry.shape), elements=elements)), geometry


@pytest.mark.parametrize("suffix", FORMATS)
def test_volumes_come_back_or_are_refused(suffix):
    @quick
    @given(images(suffix))
    def check(image):
        array, geometry = image
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"image{suffix}"
            try:
                write_image(array, geometry, path)
            except FileError as error:
                assert "does not keep where" in error.message or "no place" in error.message
                assert suffix not in (".nrrd", ".mha") and not list(Path(folder).iterdir())
                with pytest.raises(FileError):
                    check_writable(path, geometry)
                return
            assert check_writable(path, geometry) == path
            volume, information = read_volume(path), read_information(path)
        np.testing.assert_array_equal(volume.array, array.astype(np.float32))
        assert volume.geometry.matches(geometry, KEPT)
        assert information.shape == volume.geometry.shape and information.channels == volume.channels
        assert information.spacing == volume.geometry.spacing

    check()


VALUES = st.one_of(st.integers(1, 5), st.integers(1, 2**31 - 1))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
BLANK = "".join(chr(n) for n in (*range(10), *range(11, 32), *range(127, 160)))


@st.composite
def segmentations(draw):
    """Labels (Z, Y, X) of any values, with segments of any names."""
    geometry = draw(geometries())
    values = draw(st.lists(VALUES, min_size=1, max_size=4, unique=True))
    chosen = draw(some.arrays(np.int64, geometry.shape, elements=st.sampled_from([0, *values])))
    color = st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 3)
    return chosen, geometry, [SegmentInfo(value, draw(NAMES), draw(color)) for value in values]


@quick
@given(segmentations(), st.sampled_from([".nrrd", ".seg.nrrd"]))
def test_segments_come_back(segmentation, suffix):
    array, geometry, segments = segmentation
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"labels{suffix}"
        write_labels(array, geometry, path, segments)
        labels, grid, found = read_labels(path)
    np.testing.assert_array_equal(labels, array)
    assert grid.matches(geometry, KEPT)
    assert [(one.value, one.color) for one in found] == [(one.value, one.color) for one in segments]
    for one, written in zip(found, segments, strict=True):
        expected = written.name.translate(dict.fromkeys(map(ord, BLANK), " "))
        assert one.name == (expected if expected else f"Segment_{written.value}")


@pytest.mark.parametrize("suffix", FORMATS)
def test_label_values_come_back(suffix):
    @quick
    @given(st.data())
    def check(data):
        values = data.draw(st.lists(st.integers(-(2**31), 2**32 - 1), min_size=1, max_size=4))
        shape = data.draw(SHAPES)
        array = data.draw(some.arrays(np.int64, shape, elements=st.sampled_from([0, *values])))
        refused = (UsageError, FileError) if suffix == ".tif" else UsageError  # TIFF has no integers of 64 bits
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(refused):
            write_labels(array, Geometry.identity(shape), Path(folder) / f"labels{suffix}")
            labels, _, segments = read_labels(Path(folder) / f"labels{suffix}")
            np.testing.assert_array_equal(labels, array)
            assert [one.value for one in segments] == [value for value in np.unique(array) if value]

    check()


@quick
@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.none(), st.lists, max_leaves=5))
def test_json_comes_back_whatever_its_text(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        write_json(path, ["caf\udce9", value])
        assert json.loads(path.read_text(encoding="utf-8")) == ["caf\udce9", value]
