"""Damaged DICOM of every kind, another each time: read as it is, or refused in words; never another scan."""

import random
import secrets

import numpy as np
import pytest
from dicom_helpers import GEOMETRY, SHAPE, enhanced, save_all, slices

from SparseSegLib.errors import SparseSegError
from SparseSegLib.io import read_information, read_labels, read_volume, write_labels
from SparseSegLib.io.dicom.export import export_dicom

EXTREME = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff\0\0")
SIZES = (0x0002, 0x0008, 0x0010, 0x0011, 0x0030, 0x0100, 0x0101)  # elements of the group of an image's layout


@pytest.fixture
def kinds(tmp_path):
    """Whole files: a slice, multi-frame files in several encodings, a SEG and a structure set."""
    pytest.importorskip("highdicom")
    (tmp_path / "kinds").mkdir()
    scan = save_all(slices(), tmp_path / "ct")
    made = {
        "plain": enhanced(),
        "implicit": enhanced(),
        "deflated": enhanced(),
        "rle": enhanced(),
        "jpegls": enhanced(),
    }
    made["implicit"].file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    made["deflated"].file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    made["rle"].compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    made["jpegls"].compress("1.2.840.10008.1.2.4.80", generate_instance_uid=False)
    for name, dataset in made.items():
        dataset.save_as(tmp_path / f"kinds/{name}.dcm", enforce_file_format=True)
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 1:5, 1:5], labels[2, 2, 2] = 1, 2
    write_labels(labels, GEOMETRY, tmp_path / "labels.nrrd")
    for kind in ("seg", "rtstruct"):
        export_dicom(tmp_path / "labels.nrrd", tmp_path / "ct", tmp_path / f"kinds/{kind}.dcm", kind)
    return [scan[0].read_bytes(), *(path.read_bytes() for path in sorted((tmp_path / "kinds").iterdir()))]


def _damaged(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A file with flipped bits, cut off, mixed with another, or with extreme numbers in its header."""
    damaged = bytearray(data)
    how = rng.randrange(5)
    place = rng.randrange(len(damaged) - 4)
    if how == 0:
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    elif how == 1:
        del damaged[place:]
    elif how == 2:
        other = rng.choice(others)
        start = rng.randrange(len(other))
        damaged[place : place + rng.randrange(200)] = other[start : start + rng.randrange(200)]
    elif how == 3:
        damaged[place : place + 4] = rng.choice(EXTREME)
    else:
        for element in rng.sample(SIZES, 3):
            found = damaged.find(b"\x28\0" + element.to_bytes(2, "little"))
            if found > 0:
                damaged[found + 8 : found + 12] = rng.choice([*EXTREME, rng.randbytes(4)])
    return bytes(damaged)


@pytest.mark.parametrize("count", [40, pytest.param(600, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_in_words(tmp_path, kinds, count):
    print(seed := secrets.randbits(32))  # shown if the test fails
    rng = random.Random(seed)
    path = tmp_path / "damaged.dcm"
    readers = (read_volume, read_information, read_labels, lambda file: read_labels(file, GEOMETRY))
    for _ in range(count):
        path.write_bytes(_damaged(rng.choice(kinds), kinds, rng))
        for read in readers:
            try:
                read(path)
            except SparseSegError as error:
                assert error.message


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_a_damaged_slice_never_gives_another_grid(tmp_path, kinds, count):
    print(seed := secrets.randbits(32))
    rng = random.Random(seed)
    scan = sorted((tmp_path / "ct").iterdir())
    for _ in range(count):
        path = rng.choice(scan)
        whole = path.read_bytes()
        path.write_bytes(_damaged(whole, kinds, rng))
        try:
            assert read_volume(tmp_path / "ct").geometry.matches(GEOMETRY)
        except SparseSegError as error:
            assert error.message
        path.write_bytes(whole)
