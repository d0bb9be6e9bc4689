"""Volumes are read in a process of their own: one on which that crashes or hangs fails alone, in words."""

import sys
import threading

import numpy as np
import pytest
from phantoms import blob

from SparseSegLib.errors import FileError, JobError, ResourceError, VolumeError
from SparseSegLib.io import read_volume, write_image
from SparseSegLib.reading import VolumeReader

TRICKS = """
import os, signal, time
import SparseSegLib.reading.__main__ as process
read = process._ACTIONS["read"]
def with_tricks(paths, series):
    name = os.path.basename(paths[0])
    if name.startswith("crash"):
        os.abort()
    if name.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hang"):
        time.sleep(60)
    if name.startswith("bug"):
        raise ZeroDivisionError("no")
    if name.startswith("noise"):
        os.write(1, b'{"error": "noise"}' + bytes([10]))
    return read(paths, series)
process._ACTIONS["read"] = with_tricks
process.main()
"""
"""The process that reads, which does on files of some names what libraries do on damaged ones."""


@pytest.fixture
def image(tmp_path):
    phantom = blob()
    path = tmp_path / "Bild ü 日本.nrrd"
    write_image(phantom.volume.array, phantom.volume.geometry, path)
    return path


@pytest.fixture
def tricky(monkeypatch):
    monkeypatch.setattr("SparseSegLib.reading.reader.COMMAND", [sys.executable, "-c", TRICKS])
    reader = VolumeReader()
    yield reader
    reader.close()


def test_a_volume_is_the_same_as_read_here(image):
    reader = VolumeReader().start()
    here = read_volume(image)
    for paths in ([image], [image, image]):
        there = reader.read(paths)
        assert there.geometry == here.geometry
        assert there.name == here.name
        assert there.array.dtype == np.float32
        np.testing.assert_array_equal(there.array, np.concatenate([here.array] * len(paths)))
    process = reader._process
    reader.close()
    assert process.poll() is not None
    with pytest.raises(JobError):
        reader.read([image])


def test_errors_are_those_of_reading_here(tmp_path):
    write_image(
        np.zeros((1, 8, 8), np.float32),
        blob().volume.geometry.crop((slice(0, 1), slice(0, 8), slice(0, 8))),
        tmp_path / "flat.nrrd",
    )
    reader = VolumeReader()
    with pytest.raises(FileError) as caught:
        reader.read([tmp_path / "nothing.nrrd"])
    assert caught.value.hint
    with pytest.raises(VolumeError):
        reader.read([tmp_path / "flat.nrrd"])
    with pytest.raises(FileError):
        reader.read([tmp_path / "a\0b.nrrd"])
    reader.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_crash_is_an_error_of_that_file_and_the_next_one_is_read(tricky, image, tmp_path):
    with pytest.raises(FileError, match=r"crash\.nrrd cannot be read.*crashed"):
        tricky.read([tmp_path / "crash.nrrd"])
    assert tricky.read([image]).array.any()
    with pytest.raises(ResourceError, match="memory"):
        tricky.read([tmp_path / "killed.nrrd"])
    with pytest.raises(FileError, match=r"bug\.nrrd cannot be read: ZeroDivisionError"):
        tricky.read([tmp_path / "bug.nrrd"])
    noisy = image.rename(image.with_name("noise.nrrd"))
    assert tricky.read([noisy]).array.any()


def test_a_hang_ends_in_time(tricky, image, tmp_path, monkeypatch):
    tricky.read([image])
    monkeypatch.setattr("SparseSegLib.reading.reader.READ_SECONDS", 0.5)
    with pytest.raises(FileError, match=r"within [01] seconds"):
        tricky.read([tmp_path / "hang.nrrd"])


def test_closing_ends_a_read_at_once(tricky, image, tmp_path):
    tricky.read([image])
    threading.Timer(0.3, tricky.close).start()
    with pytest.raises(JobError):  # else it would be FileError, of a read that took too long
        tricky.read([tmp_path / "hang.nrrd"])


def test_the_process_ends_with_its_reader(image):
    reader = VolumeReader()
    reader.read([image])
    process = reader._process
    del reader
    assert process.wait(5) is not None
