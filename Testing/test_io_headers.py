"""Headers that cannot be, files that are no files, and names that are no text: refused before ITK sees them."""

import gzip
import os
import struct
import sys
import threading
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import SHAPE, blob, oblique_geometry

from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.image import Geometry
from SparseSegLib.io import (
    check_writable,
    read_information,
    read_labels,
    read_volume,
    volume_name,
    write_image,
    write_labels,
)

SMALL = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.int16)
NRRD = """NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 6 5 4
space directions: (1,0,0) (0,1,0) (0,0,2)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (1,2,3)
"""
META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 1 2 3
ElementSpacing = 1 1 2
DimSize = 6 5 4
ElementType = MET_SHORT
"""

posix = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's files")


def write_nrrd(path, header=NRRD, data=None):
    path.write_bytes(header.encode() + b"\n" + (SMALL.tobytes() if data is None else data))
    return path


def write_meta(path, header=META, name="LOCAL", data=None):
    local = (SMALL.tobytes() if data is None else data) if name == "LOCAL" else b""
    path.write_bytes(header.encode() + f"ElementDataFile = {name}\n".encode() + local)
    return path


def refused(path, words=""):
    for read in (read_volume, read_information):
        with pytest.raises(FileError, match=words or "The") as caught:
            read(path)
        assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("write", [write_nrrd, write_meta])
def test_the_good_ones_are_read(tmp_path, write):
    path = write(tmp_path / ("a.nrrd" if write is write_nrrd else "a.mha"))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[0], SMALL)
    assert volume.geometry == Geometry((4, 5, 6), (2, 1, 1), (1, 2, 3))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("short", "A" * 1100),
        ("left-posterior-superior", "B" * 1100),
        ("raw", "C" * 1100),
        ("domain domain domain", "D" * 1100),
        ("domain domain domain", "domain domain"),
        ("dimension: 3", "dimension: 3\ndimension: 3"),
        ("dimension: 3", "dimension: 17"),
        ("dimension: 3", "dimension: -1"),
        ("dimension: 3", "measure: 3"),
        ("dimension: 3", "no sense"),
        ("dimension: 3\n", ""),
        ("sizes: 6 5 4", "sizes: 6 5 0"),
        ("sizes: 6 5 4", "sizes: 6 5 -4"),
        ("sizes: 6 5 4", "sizes: 6 5"),
        ("sizes: 6 5 4", f"sizes: 6 5 {'9' * 40}"),
        ("(0,0,2)", "(0,0,nan)"),
        ("(0,0,2)", "(0,0,0)"),
        ("(0,0,2)", "(0,0,1e300)"),
        ("(1,2,3)", "(1,2,inf)"),
        ("(1,2,3)", "(1,2,1e200)"),
        ("little", "%s%n"),
        ("raw", "bzip2"),
    ],
)
def test_an_impossible_nrrd_header_is_refused(tmp_path, old, new):
    assert old in NRRD
    refused(write_nrrd(tmp_path / "a.nrrd", NRRD.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NDims = 3", "NDims = -1"),
        ("NDims = 3", "NDims = 0"),
        ("NDims = 3", "NDims = 1"),
        ("NDims = 3", "NDims = 100"),
        ("NDims = 3", "NDims = 3\nNDims = 100"),
        ("NDims = 3\n", ""),
        ("MET_SHORT", "MET_STRING"),
        ("MET_SHORT", "x" * 3000),
        ("6 5 4", "6 5 -4"),
        ("6 5 4", "6 5 4 7"),
        ("1 1 2", "1 1 nan"),
        ("1 1 2", "1 1 0"),
        ("1 1 2", "1 1 1e99"),
        ("1 2 3", "1 2 %s"),
        ("1 0 0 0 1 0 0 0 1", "1 0 0 0 1 0 0 0 0"),
        ("1 0 0 0 1 0 0 0 1", "1 0 0"),
    ],
)
def test_an_impossible_mha_header_is_refused(tmp_path, old, new):
    assert old in META
    refused(write_meta(tmp_path / "a.mha", META.replace(old, new)))


NAMES = ["%s%s%n%n", "slice%03d.raw 1 4 1", "LIST", "/dev/zero", "../a.raw", "folder/../../a.raw", "-", "none.raw", "."]


@pytest.mark.parametrize("name", NAMES)
def test_voxels_are_in_one_file_beside_the_header(tmp_path, name):
    (tmp_path / "a.raw").write_bytes(SMALL.tobytes())
    folder = tmp_path / "inner"
    folder.mkdir()
    refused(write_meta(folder / "a.mhd", name=name))
    refused(write_nrrd(folder / "a.nhdr", f"{NRRD}data file: {name}\n", b""))


def test_voxels_beside_the_header_are_read(tmp_path):
    (tmp_path / "Daten ü").mkdir()
    for name in ("a b.raw", "./a b.raw", "Daten ü/a.raw"):
        (tmp_path / name).write_bytes(SMALL.tobytes())
        for path in (
            write_meta(tmp_path / "a.mhd", name=name),
            write_nrrd(tmp_path / "a.nhdr", f"{NRRD}data file: {name}\n", b""),
        ):
            np.testing.assert_array_equal(read_volume(path).array[0], SMALL)
    (tmp_path / name).write_bytes(SMALL.tobytes()[:-1])
    refused(path, "ends before its image is complete")


@pytest.mark.parametrize("encoding", ["raw", "gzip", "text", "hex"])
def test_a_few_bytes_that_declare_gigabytes_are_refused(tmp_path, encoding):
    header = NRRD.replace("6 5 4", "2000 1500 1000").replace("raw", encoding)
    refused(write_nrrd(tmp_path / "a.nrrd", header, gzip.compress(bytes(100))), "ends before")
    if encoding != "hex":
        header = META.replace("6 5 4", "2000 1500 1000")
        if encoding == "gzip":
            header = header.replace("CompressedData = False", "CompressedData = True\nCompressedDataSize = 100")
        header = header.replace("BinaryData = True", f"BinaryData = {encoding != 'text'}")
        refused(write_meta(tmp_path / "a.mha", header, data=bytes(100)), "ends before")


def test_a_png_that_declares_gigabytes_is_refused(tmp_path):
    path = tmp_path / "a.png"
    sitk.WriteImage(sitk.Image(50, 50, sitk.sitkUInt8), str(path))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60000, 60000)
    path.write_bytes(data)
    with pytest.raises(FileError):
        read_volume(path)


def nifti(tmp_path, suffix=".nii"):
    path = tmp_path / f"a{suffix}"
    write_image(SMALL, oblique_geometry(SMALL.shape), path)
    return path, bytearray(gzip.decompress(path.read_bytes()) if suffix.endswith("gz") else path.read_bytes())


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        (40, "h", 0),
        (40, "h", 9),
        (42, "h", -3),
        (44, "h", 0),
        (46, "h", 32767),
        (70, "h", 77),
        (72, "h", 64),
        (76 + 4, "f", np.nan),
        (76 + 4, "f", np.inf),
        (76 + 4, "f", 1e30),
        (108, "f", np.nan),
        (108, "f", -5.0),
        (108, "f", 1e9),
        (280, "f", np.nan),
        (292, "f", 1e25),
        (0, "i", 540),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_an_impossible_nifti_header_is_refused(tmp_path, offset, form, value, suffix):
    path, data = nifti(tmp_path, suffix)
    struct.pack_into(f"<{form}", data, offset, value)
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    with pytest.raises(FileError) as caught:
        read_volume(path)
    assert caught.value.hint


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [True, False])
def test_keys_of_nifti_in_other_formats_mean_nothing(tmp_path, suffix, compressed):
    path, _ = nifti(tmp_path)
    image = sitk.ReadImage(str(path))
    assert image.HasMetaDataKey("bitpix") and image.HasMetaDataKey("vox_offset")
    sitk.WriteImage(image, str(tmp_path / f"b{suffix}"), useCompression=compressed)
    np.testing.assert_array_equal(read_volume(tmp_path / f"b{suffix}").array[0], SMALL)
    np.testing.assert_array_equal(read_labels(tmp_path / f"b{suffix}")[0], SMALL)


def test_no_more_of_a_compressed_file_is_read_than_it_declares(tmp_path):
    path, data = nifti(tmp_path, ".nii.gz")
    more = gzip.compress(bytes(data) + np.random.default_rng(0).bytes(10**6))
    path.write_bytes(more[:-1000])  # damaged, but long after the voxels
    np.testing.assert_array_equal(read_volume(path).array[0], SMALL)


def test_a_flipped_bit_in_a_compressed_nifti_file_is_noticed(tmp_path):
    path, data = nifti(tmp_path, ".nii.gz")
    flipped = bytearray(gzip.compress(bytes(data), compresslevel=0))
    flipped[-100] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(FileError, match="damaged"):
        read_volume(path)


@pytest.mark.parametrize("kind", ["good", "long", "short", "flipped", "without a size", "a wrong size"])
@pytest.mark.parametrize("name", ["LOCAL", "a.zraw"])
def test_compressed_voxels_of_mha_are_all_there(tmp_path, kind, name):
    """ITK reads what is missing as zeros, or as what was in memory."""
    voxels = SMALL.tobytes() + (bytes(10**6) if kind == "long" else b"")
    data = bytearray(zlib.compress(voxels[:-9] if kind == "short" else voxels, 0 if kind == "flipped" else 6))
    if kind == "flipped":
        data[50] ^= 1
    size = {"without a size": "", "a wrong size": "CompressedDataSize = 5\n"}
    header = META.replace("CompressedData = False\n", "CompressedData = True\n")
    header += size.get(kind, f"CompressedDataSize = {len(data)}\n")
    (tmp_path / "a.zraw").write_bytes(data)
    path = write_meta(tmp_path / ("a.mha" if name == "LOCAL" else "a.mhd"), header, name, bytes(data))
    if kind in ("good", "long") or (kind == "without a size" and name != "LOCAL"):
        np.testing.assert_array_equal(read_volume(path).array[0], SMALL)
        return
    with pytest.raises(FileError, match="damaged"):
        read_volume(path)


def test_the_two_files_of_analyze_belong_together(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(SMALL), str(tmp_path / "a.hdr"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.hdr").array[0], SMALL)
    data = (tmp_path / "a.img").read_bytes()
    (tmp_path / "a.img").write_bytes(data[:-20])
    refused(tmp_path / "a.hdr", "ends before")
    (tmp_path / "a.img").unlink()
    refused(tmp_path / "a.hdr", "is missing")


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("a.nii", "b.nrrd", "NIfTI by its content"),
        ("a.nii.gz", "b.mha", "NIfTI by its content"),
        ("a.nii.gz", "b.nii", "b.nii.gz"),
        ("a.nrrd", "b.nii.gz", "NRRD by its content"),
        ("a.mha", "b.nrrd", "MHA/MHD by its content"),
        ("a.tif", "b.nrrd", "TIFF by its content"),
    ],
)
def test_a_wrong_suffix_is_told(tmp_path, good, bad, words):
    write_image(SMALL, Geometry.identity(SMALL.shape), tmp_path / good)
    os.replace(tmp_path / good, tmp_path / bad)
    if bad == "b.mha":  # its reader looks for text alone
        words = "no MHA"
    with pytest.raises(FileError, match=words):
        read_volume(tmp_path / bad)


@posix
@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha", ".tif", ".dcm"])
def test_pipes_and_devices_are_refused_at_once(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        found = []

        def read(path=tmp_path / f"{name}{suffix}", found=found):
            found.append(refused(path, "not a regular file"))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        thread.join(20)
        assert found, "it waits"


@posix
def test_a_device_beside_a_header_is_refused(tmp_path):
    (tmp_path / "zero.raw").symlink_to("/dev/zero")
    refused(write_meta(tmp_path / "a.mhd", name="zero.raw"), "not a regular file")


@posix
def test_names_that_are_not_utf8_are_refused_in_words(tmp_path):
    latin = os.fsdecode(b"L\xe4sion")
    write_nrrd(tmp_path / f"{latin}.nrrd")
    refused(tmp_path / f"{latin}.nrrd", "not in UTF-8").message.encode()
    with pytest.raises(FileError, match="not in UTF-8"):
        write_image(SMALL, Geometry.identity(SMALL.shape), tmp_path / f"new {latin}.nrrd")
    volume_name(tmp_path / f"{latin}.nrrd").encode()


def test_names_longer_than_a_disk_keeps_are_refused_in_words(tmp_path):
    path = tmp_path / ("x" * 300 + ".nrrd")
    with pytest.raises(FileError, match="There is no file"):
        read_volume(path)
    for write in (check_writable, lambda path: write_labels(SMALL, Geometry.identity(SMALL.shape), path)):
        with pytest.raises(FileError, match="too long"):
            write(path)
    if sys.platform != "win32":  # where the whole path is limited, too
        write_image(SMALL, Geometry.identity(SMALL.shape), tmp_path / ("x" * 240 + ".nii.gz"))


def sheared(shape=SHAPE):
    direction = np.eye(3)
    direction[:, 2] = (0, 0.2425356250363330, 0.9701425001453319)
    return Geometry(shape, (2.0, 1.0, 1.0), (10, 20, 30), tuple(direction.ravel()))


@pytest.mark.parametrize("suffix", [".nrrd", ".seg.nrrd", ".mha"])
def test_sheared_axes_survive_where_the_format_has_them(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert check_writable(path, sheared()) == path
    write_labels(np.ones(SHAPE, np.uint8), sheared(), path)
    assert read_labels(path)[1].matches(sheared(), 1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif"])
def test_sheared_axes_are_refused_where_they_would_be_lost(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for write in (
        lambda: check_writable(path, sheared()),
        lambda: write_image(blob().volume.array, sheared(), path),
        lambda: write_labels(blob().labels, sheared(), path),
    ):
        with pytest.raises(FileError, match=r"Cannot write .*a\.") as caught:
            write()
        assert ".nrrd" in caught.value.hint and not list(tmp_path.iterdir())


def test_voxels_too_small_for_the_numbers_of_nifti_are_refused(tmp_path):
    far = Geometry(SHAPE, (2e-4, 2e-4, 2e-4), (80.1234567, 1.0, 2.0))
    with pytest.raises(FileError, match="does not keep where"):
        check_writable(tmp_path / "a.nii.gz", far)
    check_writable(tmp_path / "a.nrrd", far)
    check_writable(tmp_path / "a.nii.gz", Geometry(SHAPE, (2e-4, 2e-4, 2e-4)))
    with pytest.raises(FileError, match="at most 32767"):
        check_writable(tmp_path / "a.nii.gz", Geometry.identity((40000, 2, 2)))


def test_nifti_with_sheared_axes_is_refused(tmp_path):
    path, data = nifti(tmp_path)
    struct.pack_into("<h", data, 254, 1)
    struct.pack_into("<12f", data, 280, -1, 0, 0, 5, 0, -1, 0.5, 6, 0, 0, 2, 7)
    path.write_bytes(data)
    refused(path, "sheared axes")
    struct.pack_into("<h", data, 252, 0)
    struct.pack_into("<h", data, 254, 4)
    path.write_bytes(data)
    refused(path, "sheared axes")


def test_axes_that_are_no_unit_vectors_are_lengths(tmp_path):
    path = write_meta(tmp_path / "a.mha", META.replace("1 0 0 0 1 0 0 0 1", "3 0 0 0 1 0 0 0 1"))
    assert read_volume(path).geometry == Geometry((4, 5, 6), (2, 1, 3), (1, 2, 3))


def test_unknown_formats_cannot_be_written_wherever_they_lie(tmp_path):
    with pytest.raises(UsageError):
        check_writable(tmp_path / "a.vtk", oblique_geometry())
