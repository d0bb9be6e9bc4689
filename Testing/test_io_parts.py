"""A part of a volume is what the whole one has there, and costs its own bytes."""

from io import FileIO

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from phantoms import oblique_geometry

from SparseSegLib.errors import FileError, GeometryError
from SparseSegLib.image import Geometry
from SparseSegLib.io import open_parts, raw_parts, read_region, read_volume, write_image
from SparseSegLib.io.files import read_file

SHAPE = (20, 32, 40)
BOX = (slice(3, 7), slice(4, 30), slice(11, 39))
WHOLE_ROWS = (slice(3, 7), slice(4, 30), slice(0, 40))
VOXELS = np.random.default_rng(0).integers(0, 255, (2, *SHAPE))


@pytest.fixture
def counted(monkeypatch):
    """The numbers of bytes that are read of files that the raw reader opens."""
    counts = []

    class Counting(FileIO):
        def readinto(self, buffer):
            counts.append(super().readinto(buffer))
            return counts[-1]

    monkeypatch.setattr(raw_parts, "open", lambda path, mode, buffering: Counting(path, mode), raising=False)
    return counts


def write(path, array, geometry):
    """The writers of ITK, without compression: they know the formats in two files, too."""
    sitk.WriteImage(geometry.to_sitk(array if len(array) > 1 else array[0]), str(path))
    return path


def check(path, dtype, channels, counted):
    parts = open_parts(path)
    whole, geometry = read_file(path)
    assert (parts.shape, parts.channels, parts.dtype) == (SHAPE, channels, dtype)
    assert parts.geometry == geometry
    for box in (BOX, WHOLE_ROWS, tuple(slice(0, size) for size in SHAPE)):
        counted.clear()
        part = parts.read(box)
        assert part.dtype == parts.dtype
        np.testing.assert_array_equal(part, whole[(slice(None), *box)])
        assert sum(counted) == part.nbytes


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".hdr"])
def test_a_part_costs_its_bytes(tmp_path, counted, dtype, channels, ending):
    geometry = Geometry(SHAPE, (2, 1, 1), (3, 4, 5)) if ending in (".nii", ".hdr") else oblique_geometry(SHAPE)
    path = write(tmp_path / f"a{ending}", VOXELS[:channels].astype(dtype), geometry)
    if channels > 1 and ending in (".nii", ".hdr"):
        assert open_parts(path) is None  # its channels do not lie side by side
    else:
        check(path, dtype, channels, counted)


def test_big_endian_voxels(tmp_path, counted):
    voxels = VOXELS[0].astype(">i2")
    header = "type: short\ndimension: 3\nsizes: 40 32 20\nendian: big\nencoding: raw\n"
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + header.encode() + b"\n" + voxels.tobytes())
    check(tmp_path / "a.nrrd", "int16", 1, counted)
    header = "NDims = 3\nDimSize = 40 32 20\nBinaryDataByteOrderMSB = True\nElementType = MET_SHORT\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + voxels.tobytes())
    check(tmp_path / "a.mha", "int16", 1, counted)


def in_order(path, array, axes, **more):
    """A TIFF stack of channels and slices in the order of its axes."""
    order = ["CZYX".index(axis) for axis in axes]
    stack = array if len(array) > 1 else array[0]
    tifffile.imwrite(path, stack.transpose(order) if len(array) > 1 else stack, photometric="minisblack", **more)
    return path


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "layout",
    [
        {"imagej": True, "axes": "ZCYX"},
        {"ome": True, "axes": "CZYX"},
        {"ome": True, "axes": "ZCYX", "bigtiff": True},
        {"ome": True, "axes": "CZYX", "contiguous": False},
    ],
)
def test_tiff_stacks(tmp_path, counted, channels, byteorder, layout):
    axes = layout["axes"] if channels > 1 else "ZYX"
    options = {key: value for key, value in layout.items() if key not in ("axes", "contiguous")}
    path = in_order(
        tmp_path / "a.tif",
        VOXELS[:channels].astype(np.uint16),
        axes,
        byteorder=byteorder,
        metadata={"axes": axes, "spacing": 2},
        **options,
        **({"rowsperstrip": 7} if "contiguous" in layout else {}),
    )
    check(path, "uint16", channels, counted)


def test_pages_that_do_not_follow_each_other(tmp_path, counted):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in VOXELS[0].astype(np.uint8):
            file.write(page, photometric="minisblack", metadata=None, contiguous=False)
    check(tmp_path / "a.tif", "uint8", 1, counted)


@pytest.mark.parametrize(
    "layout", [{"compression": "deflate"}, {"tile": (16, 16)}, {"predictor": True, "compression": "deflate"}]
)
def test_compressed_and_tiled_stacks_are_not_read_in_parts(tmp_path, layout):
    tifffile.imwrite(tmp_path / "a.tif", VOXELS[0].astype(np.uint8), photometric="minisblack", **layout)
    assert open_parts(tmp_path / "a.tif") is None


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii.gz"])
def test_compressed_volumes_are_not_read_in_parts(tmp_path, name):
    write_image(VOXELS[0].astype(np.uint8), Geometry.identity(SHAPE), tmp_path / name)
    assert open_parts(tmp_path / name) is None


def test_scaled_voxels_are_not_read_in_parts(tmp_path):
    path = write(tmp_path / "a.nii", VOXELS[:1].astype(np.int16), Geometry.identity(SHAPE))
    raw = bytearray(path.read_bytes())
    raw[112:116] = np.float32(2).tobytes()
    path.write_bytes(raw)
    assert read_file(path)[0].max() == 2 * VOXELS[0].max() and open_parts(path) is None


def test_what_ends_too_early_is_refused(tmp_path):
    path = write(tmp_path / "a.nrrd", VOXELS[:1].astype(np.int16), Geometry.identity(SHAPE))
    parts = open_parts(path)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(FileError, match="damaged"):
        open_parts(path)
    parts.read((slice(0, 1), slice(0, 9), slice(0, 9)))
    with pytest.raises(FileError, match="damaged"):
        parts.read((slice(19, 20), slice(0, 9), slice(0, 9)))


@pytest.mark.parametrize("part", [slice(0, 21), slice(-1, 4), slice(4, 4)])
def test_a_box_beyond_the_volume_is_refused(tmp_path, part):
    parts = open_parts(write(tmp_path / "a.nrrd", VOXELS[:1].astype(np.int16), Geometry.identity(SHAPE)))
    with pytest.raises(GeometryError, match="beyond"):
        parts.read((part, slice(0, 9), slice(0, 9)))


def test_a_region_of_one_file_or_of_several(tmp_path, counted):
    geometry = oblique_geometry(SHAPE)
    paths = [write(tmp_path / name, VOXELS[:1].astype(np.uint8), geometry) for name in ("a.nrrd", "b.mha")]
    write_image(VOXELS[0].astype(np.uint8), geometry, tmp_path / "c.nrrd")
    for source, cost in ((paths[0], 1), (paths, 2), ([*paths, tmp_path / "c.nrrd"], 0), (tmp_path / "c.nrrd", 0)):
        counted.clear()
        region, whole = read_region(source, BOX), read_volume(source)
        np.testing.assert_array_equal(region.array, whole.crop(BOX).array)
        assert region.geometry.matches(geometry.crop(BOX)) and region.name == whole.name
        assert sum(counted) == cost * region.array[0].size
        assert region.array.dtype == (np.uint8 if cost else np.float32)


def test_slices_are_no_channels(tmp_path):
    paths = [tmp_path / f"{number}.tif" for number in range(4)]
    for path, voxels in zip(paths, VOXELS[0].astype(np.uint8), strict=False):
        tifffile.imwrite(path, voxels)
    box = (slice(1, 3), slice(2, 9), slice(0, 4))
    np.testing.assert_array_equal(read_region(paths, box).array[0], VOXELS[0][box])
