"""Terminals of any encoding, closed ones, broken pipes, Ctrl-C, and files on which a reader crashes."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import SparseSegLib
from SparseSegLib.cli import supervise
from SparseSegLib.cli.console import Console
from SparseSegLib.errors import ResourceError
from SparseSegLib.files import keep_note_in, noting
from SparseSegLib.image import Geometry
from SparseSegLib.io import default_segment, write_labels

NAME = "Größe 肝臓 \u202eabc"
ROOT = Path(SparseSegLib.__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "SparseSegLib.cli"]
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Labels of which two slices are annotated, with a name that no code page has."""
    path = tmp_path_factory.mktemp("labels") / "drawn.seg.nrrd"
    labels = np.zeros((6, 8, 8), np.uint8)
    labels[1, 2:5, 2:5] = labels[4, 2:6, 2:5] = 1
    write_labels(labels, Geometry.identity(labels.shape), path, [replace(default_segment(1), name=NAME)])
    return path


def _run(*arguments, encoding="utf-8", **options):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, **options.pop("env", {})}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, env=environment, timeout=60, check=False, **options
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_any_encoding_will_do(encoding, drawn):
    done = _run("planes", drawn, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"2 annotated slices" in done.stdout
    values = json.loads(_run("planes", drawn, "--json", encoding=encoding).stdout.decode(encoding))
    assert values["names"] == [NAME]


class _Stream(io.TextIOWrapper):
    def __init__(self, encoding="utf-8", errors="strict"):
        super().__init__(io.BytesIO(), encoding=encoding, errors=errors)

    @property
    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


def test_nothing_of_files_reaches_the_terminal_raw():
    out, err = _Stream(), _Stream()
    bad = "a\x1b[31m\u202e\udce9"
    console = Console(out=out, err=err)
    console.result({}, f"{bad}\nsecond line")
    console.message(bad)
    console.error(bad, bad, "file")
    console.progress(0.5, None, bad)
    assert out.text == "a\\x1b[31m\\u202e\\xe9\nsecond line\n"
    assert not set("\x1b\u202e\udce9") & set(err.text)


def test_json_is_valid_whatever_is_in_it():
    out = _Stream("cp1252")
    values = {"name": "a\x1b\u202e\udce9 肝", "number": float("nan"), "more": [float("inf"), 1.5]}
    Console(True, out, _Stream()).result(values, "")
    assert json.loads(out.text) == {"name": values["name"], "number": None, "more": [None, 1.5]}


def test_messages_that_nobody_reads_do_not_end_the_work():
    class Gone(_Stream):
        def write(self, text):
            raise BrokenPipeError

    console = Console(out=_Stream(), err=Gone())
    console.message("a")
    console.progress(0.5, 1.0)
    console.clear()


def test_a_result_that_cannot_be_printed_is_an_error():
    class Full(_Stream):
        def write(self, text):
            raise OSError(28, "No space left on device")

    with pytest.raises(ResourceError):
        Console(out=Full(), err=_Stream()).result({}, "text")


@POSIX
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-", "| true", "> /dev/full"])
def test_closed_and_broken_streams_show_no_traceback(closed, drawn):
    if "full" in closed and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    command = f"'{sys.executable}' -m SparseSegLib.cli planes '{drawn}' {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert done.returncode == (9 if "full" in closed else 0)


@POSIX
@pytest.mark.parametrize("seconds", [0.1, 0.3])
def test_an_early_interrupt_shows_no_traceback(seconds):
    with subprocess.Popen([*COMMAND, "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert process.returncode in (130, 0)


@POSIX
def test_a_file_on_which_the_reader_crashes_is_named(drawn, tmp_path):
    """The child crashes by itself as soon as it notes that it reads."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, threading, time\n"
        "def crash():\n"
        "    while not hasattr(sys.modules.get('SparseSegLib.files.reading_note'), '_write'):\n"
        "        time.sleep(0.001)\n"
        "    note = sys.modules['SparseSegLib.files.reading_note']\n"
        "    write = note._write\n"
        "    note._write = lambda content: (write(content), os.kill(os.getpid(), 11))\n"
        "threading.Thread(target=crash, daemon=True).start()\n"
    )
    done = _run("planes", drawn, "--json", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3
    assert str(drawn) in done.stderr.decode()
    assert json.loads(done.stdout)["error"] == "file"


@pytest.mark.parametrize(
    ("status", "note", "code", "words"),
    [(-9, b"a.nrrd", 9, "memory"), (-6, b"b.dcm", 3, "b.dcm"), (-11, b"", 70, "SIGSEGV"), (-2, b"", 130, "")],
)
def test_the_end_of_a_crashed_process_is_explained(status, note, code, words, tmp_path, capsys):
    (tmp_path / "note").write_bytes(note)
    assert supervise._crashed(status, str(tmp_path / "note"), []) == code
    assert words in capsys.readouterr().err


def test_the_note_tells_what_is_being_read_and_nothing_afterwards(tmp_path):
    note = tmp_path / "note"
    try:
        keep_note_in(str(note))
        with noting("some file"):
            assert note.read_text() == "some file"
        assert note.read_text() == ""
    finally:
        keep_note_in(os.devnull)


def test_nothing_is_imported_from_the_current_folder(drawn, tmp_path):
    """Data from anybody may lie there; the command itself, unlike python -m, does not look there."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('code from the current folder was run')")
    code = (
        f"import sys; sys.path[:1] = [{str(ROOT)!r}]; sys.argv = ['', 'planes', {str(drawn)!r}]\n"
        "from SparseSegLib.cli.supervise import run; sys.exit(run())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_supervisor_starts_without_the_engine():
    code = "import sys; import SparseSegLib.cli.supervise, SparseSegLib.cli.streams; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


@POSIX
def test_the_work_ends_with_whoever_asked_for_it():
    """A supervisor that is killed takes its child along."""
    process = subprocess.Popen([*COMMAND, "info"], stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 20
    while not (children := _children(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.kill()
    process.wait()
    while any(_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    assert not any(_alive(child) for child in children)


def _children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        pytest.skip("no /proc")


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
