"""Damaged volumes and labels: each is read or refused in words, quickly and in little memory."""

import secrets
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from mutations import mutate, read_in_child
from phantoms import multi_class, oblique_geometry

from SparseSegLib.geometry import Geometry
from SparseSegLib.io import SegmentInfo, write_image, write_labels

MOST_SECONDS, MOST_MEGABYTES = 30, 2000
KINDS = (
    ".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz", ".hdr", ".tif", ".ome.tif", ".png", ".seg.nrrd",
)  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="asks for memory with POSIX's getrusage")


def write_example(path, rng):
    """Write a small good file of a format; the bytes at its start that hold the header."""
    shape = tuple(int(n) for n in rng.integers(3, 9, 3))
    array = rng.integers(0, 1000, shape).astype(rng.choice([np.int16, np.uint16, np.float32]))
    name = path.name
    if name.endswith(".seg.nrrd"):
        labels = multi_class().labels
        segments = [SegmentInfo(value, f"Läsion {value}", (1.0, 0.5, 0.0)) for value in (1, 2, 3)]
        write_labels(labels, oblique_geometry(), path, segments)
    elif name.endswith(".png"):
        sitk.WriteImage(sitk.GetImageFromArray(array[0].astype(np.uint8)), str(path))
    elif name.endswith(".tif"):
        array = array.astype(np.int32 if name.endswith(".ome.tif") else np.uint16)
        write_image(array, Geometry.identity(shape, (2.0, 0.5, 0.5)), path)
    else:
        image = oblique_geometry(shape).to_sitk(array)
        sitk.WriteImage(image, str(path), useCompression=bool(rng.integers(2)) and not name.endswith(".hdr"))


def check_mutated(tmp_path, kinds, count, seed):
    rng = np.random.default_rng(seed)
    files = []
    for kind in kinds:
        for number in range(count):
            folder = tmp_path / f"{kind}{number}"
            folder.mkdir()
            path = folder / f"image{kind}"
            write_example(path, rng)
            path.write_bytes(mutate(path.read_bytes(), rng) or b"x")
            what = "labels" if "seg" in kind else "volume"
            files.append((path, str(rng.choice([what, "information"], p=[0.85, 0.15]))))
    wrong = [
        one
        for one in read_in_child(files)
        if one.how not in ("read", "refused") or one.seconds > MOST_SECONDS or one.megabytes > MOST_MEGABYTES
    ]
    assert wrong == [], f"seed {seed}: {wrong[:3]}"


def test_a_few_damaged_files(tmp_path):
    check_mutated(tmp_path, KINDS, 8, secrets.randbits(32))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(tmp_path, kind):
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    check_mutated(tmp_path, [kind], 300, seed)
