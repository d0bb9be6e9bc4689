import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from phantoms import SHAPE, blob, oblique_geometry

from SparseSegLib.errors import FileError, ResourceError
from SparseSegLib.files import atomic_path, write_json
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_volume, write_image, write_labels

ROOT = Path(__file__).resolve().parents[1]


def test_the_temporary_file_lies_beside_with_the_same_suffix(tmp_path):
    for name in ("a.nii.gz", "a.seg.nrrd", "日本 ü.nrrd", "x" * 245 + ".nrrd"):
        with atomic_path(tmp_path / name) as temporary:
            assert temporary.parent == tmp_path and temporary.name != name
            assert temporary.name.endswith("".join(Path(name).suffixes[-2:]))
            temporary.write_text("new")
            assert not (tmp_path / name).exists()
        assert (tmp_path / name).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), OSError(errno.EIO, "broken")])
def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileError if isinstance(error, OSError) else type(error)), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_plainly(tmp_path):
    with pytest.raises(ResourceError, match="disk is full") as caught, atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.hint and not list(tmp_path.iterdir())


def test_nothing_written_missing_folder_and_folder_in_the_way(tmp_path):
    with pytest.raises(FileError, match="nothing was written"), atomic_path(tmp_path / "a.txt"):
        pass
    with pytest.raises(FileError, match="folder does not exist"):
        write_json(tmp_path / "none" / "a.json", {})
    (tmp_path / "b.json").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        write_json(tmp_path / "b.json", {})


def test_json(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"name": "Prüfung 日本語", "values": [1, 2.5]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Prüfung 日本語", "values": [1, 2.5]}
    assert "Prüfung 日本語" in path.read_text(encoding="utf-8")
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, bad)
    assert json.loads(path.read_text(encoding="utf-8"))["values"] == [1, 2.5] and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha", ".tif", ".seg.nrrd"])
@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files with POSIX's setrlimit")
def test_a_writer_that_runs_out_of_space_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(blob().volume.array, Geometry.identity(SHAPE), path)
    old = path.read_bytes()
    script = """
        import resource, signal, sys
        import numpy as np
        from SparseSegLib.errors import ResourceError
        from SparseSegLib.image.geometry import Geometry
        from SparseSegLib.io import write_image, write_labels
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        array = np.random.default_rng(0).integers(0, 250, (40, 50, 60)).astype(np.uint8)
        write = write_labels if sys.argv[1].endswith(".seg.nrrd") else write_image
        try:
            write(array, Geometry.identity(array.shape), sys.argv[1])
        except ResourceError as error:
            print(error)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "disk is full" in done.stdout and done.stderr == ""
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_a_result_is_replaced(tmp_path):
    path = tmp_path / "a.nrrd"
    for value in (1, 2):
        write_labels(np.full(SHAPE, value, np.uint8), oblique_geometry(), path)
    assert (read_volume(path).array == 2).all()
