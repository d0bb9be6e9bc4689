"""Segments in NRRD headers: any names, values that are no lengths, layers, voxels in another file, nothing drawn."""

import gzip

import numpy as np
import pytest
from phantoms import SHAPE, multi_class, oblique_geometry

from SparseSegLib.annotation import read_sparse_labels
from SparseSegLib.errors import AnnotationError, FileError, UsageError
from SparseSegLib.image import Geometry
from SparseSegLib.io import SegmentInfo, read_labels, write_labels

LABELS = multi_class().labels[:4, :6, :8].copy()
LABELS[0, 0, :4] = 0, 1, 2, 3
HEADER = """NRRD0004
type: unsigned char
dimension: {dimension}
space: left-posterior-superior
sizes: {sizes}
space directions: {none}(1,0,0) (0,1,0) (0,0,2)
kinds: {kind}domain domain domain
encoding: {encoding}
space origin: (1,2,3)
"""


def write(path, keys, layers=LABELS[None], *, detached=""):
    """Write a segmentation byte by byte: keys as (name, value), (L, Z, Y, X) uint8 voxels."""
    many = len(layers) > 1
    header = HEADER.format(
        dimension=4 if many else 3,
        sizes=f"{len(layers)} 8 6 4" if many else "8 6 4",
        none="none " if many else "",
        kind="list " if many else "",
        encoding="gzip" if detached else "raw",
    )
    voxels = np.ascontiguousarray(np.moveaxis(layers, 0, -1) if many else layers[0]).tobytes()
    if detached:
        header += f"data file: {detached}\n"
        (path.parent / detached).write_bytes(gzip.compress(voxels))
        voxels = b""
    lines = b"".join(key.encode() + b":=" + value + b"\n" for key, value in keys)
    path.write_bytes(header.encode() + lines + b"\n" + voxels)
    return path


def keys(number, name, value=None, layer=None):
    found = [(f"Segment{number}_ID", b"Segment_%d" % number), (f"Segment{number}_Name", name)]
    if value is not None:
        found.append((f"Segment{number}_LabelValue", value))
    if layer is not None:
        found.append((f"Segment{number}_Layer", layer))
    return found


ABC = [*keys(0, b"a", b"1"), *keys(1, b"b", b"2"), *keys(2, b"c", b"3")]


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("Läsion".encode("latin-1"), "Läsion"),
        ("Läsion 肝臓".encode(), "Läsion 肝臓"),
        (rb"left\\right", "left\\right"),
        (rb"two\nlines", "two\nlines"),
        (b"a:=b; c|d: e", "a:=b; c|d: e"),
        (b"50% of %s", "50% of %s"),
        (b"x" * 5000, "x" * 5000),
    ],
)
def test_names_are_read_whatever_they_are(tmp_path, stored, name):
    path = write(tmp_path / "a.seg.nrrd", keys(0, stored, b"1"))
    assert read_labels(path)[2][0].name == name


@pytest.mark.parametrize("name", ["a\\b", "C:\\new", "two\nlines", "a:=b", "  both  ", "日本\u2028語", "\\n", "🫀"])
@pytest.mark.parametrize("suffix", [".nrrd", ".seg.nrrd"])
def test_names_survive(tmp_path, name, suffix):
    segments = [SegmentInfo(value, name, (1.0, 0.0, 0.5)) for value in (1, 2, 3)]
    write_labels(LABELS, Geometry.identity(LABELS.shape), tmp_path / f"a{suffix}", segments)
    assert read_labels(tmp_path / f"a{suffix}")[2] == segments


def test_characters_that_a_header_cannot_keep_become_others(tmp_path):
    segments = [SegmentInfo(value, "a\rb\tc\x00d\udce9", (1.0, 0.0, 0.5)) for value in (1, 2, 3)]
    write_labels(LABELS, Geometry.identity(LABELS.shape), tmp_path / "a.seg.nrrd", segments)
    assert read_labels(tmp_path / "a.seg.nrrd")[2][0].name == "a b c d?"


def test_keys_in_another_encoding_are_no_obstacle(tmp_path):
    path = write(tmp_path / "a.nrrd", [*ABC, ("Patient", "Müller".encode("latin-1"))])
    assert [one.name for one in read_labels(path)[2]] == ["a", "b", "c"]


def test_a_value_is_no_length(tmp_path):
    path = write(tmp_path / "a.seg.nrrd", [*ABC[:6], *keys(2, b"c", b"400000000"), *keys(3, b"d", b"3")])
    labels, geometry, segments = read_labels(path)
    assert [one.value for one in segments] == [1, 2, 400000000, 3]
    write_labels(labels, geometry, tmp_path / "b.seg.nrrd", segments)
    assert read_labels(tmp_path / "b.seg.nrrd")[2] == segments
    large = np.where(LABELS == 2, 2_000_000_000, LABELS.astype(np.int64))
    write_labels(large, geometry, tmp_path / "c.seg.nrrd")
    np.testing.assert_array_equal(read_labels(tmp_path / "c.seg.nrrd")[0], large)


@pytest.mark.parametrize("value", [b"0", b"-1", b"2147483648", b"9" * 5000, b"1.5", b"one", b"nan", "١".encode()])
def test_a_value_that_cannot_be_is_refused(tmp_path, value):
    path = write(tmp_path / "a.seg.nrrd", keys(0, b"a", value))
    with pytest.raises(FileError, match='damaged: the segment "a" has the value'):
        read_labels(path)


def test_two_segments_cannot_have_one_value(tmp_path):
    path = write(tmp_path / "a.seg.nrrd", [*keys(0, b"a", b"1"), *keys(1, b"b", b"1")])
    with pytest.raises(FileError, match='"b" has the value 1, as another one has'):
        read_labels(path)
    segments = [SegmentInfo(1, name, (1.0, 0.0, 0.0)) for name in "ab"]
    for suffix in (".nrrd", ".seg.nrrd"):
        with pytest.raises(UsageError, match="two segments have one value"):
            write_labels(LABELS, oblique_geometry(LABELS.shape), tmp_path / f"b{suffix}", segments)
    with pytest.raises(UsageError, match="cannot have the value -5"):
        write_labels(LABELS - 5.0, oblique_geometry(LABELS.shape), tmp_path / "b.seg.nrrd")


def test_two_segments_of_one_name_are_two(tmp_path):
    path = write(tmp_path / "a.seg.nrrd", [*keys(0, b"vein", b"1"), *keys(1, b"vein", b"2"), *keys(2, b"Vein", b"3")])
    assert [(one.value, one.name) for one in read_labels(path)[2]] == [(1, "vein"), (2, "vein"), (3, "Vein")]


@pytest.mark.parametrize("layer", [b"-1", b"2", b"x", b"99999999"])
def test_a_layer_that_is_not_there_is_refused(tmp_path, layer):
    layers = np.stack([LABELS, LABELS])
    good = write(tmp_path / "a.seg.nrrd", [*keys(0, b"a", b"1", b"0"), *keys(1, b"b", b"1", b"1")], layers)
    assert len(read_labels(good)[2]) == 2
    path = write(tmp_path / "b.seg.nrrd", [*keys(0, b"a", b"1", b"0"), *keys(1, b"b", b"1", layer)], layers)
    with pytest.raises(FileError, match='the segment "b" has the layer'):
        read_labels(path)


@pytest.mark.parametrize("name", ["a.seg.nhdr", "a.nhdr"])
def test_names_are_read_with_the_voxels_in_another_file(tmp_path, name):
    path = write(tmp_path / name, ABC, detached="voxels.raw.gz")
    labels, geometry, segments = read_labels(path)
    np.testing.assert_array_equal(labels, LABELS)
    assert [one.name for one in segments] == ["a", "b", "c"] and geometry.spacing == (2, 1, 1)
    (tmp_path / "voxels.raw.gz").unlink()
    with pytest.raises(FileError, match="is missing"):
        read_labels(path)


@pytest.mark.parametrize("named", [True, False])
def test_nothing_drawn_is_said(tmp_path, named):
    """3D Slicer crops a segmentation to what is drawn: to a single voxel if nothing is."""
    one = Geometry.identity((1, 1, 1))
    segments = [SegmentInfo(1, "liver", (1.0, 0.0, 0.0))] if named else []
    write_labels(np.zeros((1, 1, 1), np.uint8), one, tmp_path / "a.seg.nrrd", segments)
    with pytest.raises(AnnotationError, match="Nothing is drawn"):
        read_sparse_labels(tmp_path / "a.seg.nrrd", oblique_geometry(SHAPE))


def test_colors_that_are_no_numbers_get_the_default(tmp_path):
    path = write(tmp_path / "a.seg.nrrd", [*keys(0, b"a", b"1"), ("Segment0_Color", b"nan 0 0")])
    assert all(0 <= part <= 1 for part in read_labels(path)[2][0].color)
