"""How a worker ends, whatever happens to its client, its folder, its commands and its log."""

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from SparseSegLib.control import CancelSource, Control, Mailbox
from SparseSegLib.errors import JobError
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.protocol import GRACE_SECONDS, decode, encode, read_job
from SparseSegLib.worker.explain import explain
from SparseSegLib.worker.lock import folder_lock

ROOT = Path(__file__).parents[1]
needs_signals = pytest.mark.skipif(os.name == "nt", reason="signals")


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except ProcessLookupError:  # it ended between opening and reading
        return False
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _ends(process: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _alive(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _alive(process)


def _working(folder: Path, **settings: object) -> Job:
    """A job that is at work."""
    write_job(folder, "selftest", {}, {"steps": 10_000, **settings})
    job = Job(folder).start()
    deadline = time.monotonic() + 20
    while not any(event["event"] == "progress" for event in job.poll()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return job


@needs_signals
def test_a_worker_that_does_not_listen_ends_soon_after_its_client(tmp_path):
    job = _working(tmp_path, ignore_cancel=True)
    job._process.stdin.close()
    assert job.wait(GRACE_SECONDS + 5)["event"] == "failed"  # nobody was there to be told more


@needs_signals
def test_a_job_that_nobody_holds_ends_its_worker(tmp_path):
    job = _working(tmp_path, ignore_cancel=True)
    process = job._process.pid
    del job
    assert _ends(process, 5)


@needs_signals
def test_a_worker_ends_with_a_client_that_was_killed(tmp_path):
    write_job(tmp_path, "selftest", {}, {"steps": 10_000, "ignore_cancel": True})
    code = textwrap.dedent(
        f"""
        import time
        from SparseSegLib.jobs import Job
        job = Job({str(tmp_path)!r}).start()
        while not any(event["event"] == "progress" for event in job.poll()):
            time.sleep(0.01)
        print(job._process.pid, flush=True)
        time.sleep(60)
        """
    )
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert client.stdout is not None
    worker = int(client.stdout.readline())
    client.kill()
    client.wait()
    client.stdout.close()
    assert _ends(worker, GRACE_SECONDS + 5)


def test_no_line_ends_the_listener(tmp_path):
    job = _working(tmp_path)
    for line in (b"[" * 100_000, b"\xff\xfe\x00", b'{"command": ["cancel"]}', b"1" * 10_000, b"x" * 2_000_000, b"null"):
        job._process.stdin.write(line + b"\n")
        job._process.stdin.flush()
    job.stop()
    assert job.wait(20)["event"] == "result"


def test_a_malformed_update_is_told_and_the_task_goes_on(tmp_path):
    job = _working(tmp_path)
    for wrong in (None, 5, ["a"], {"a": 1}, ""):
        job._send("update_annotation", file=wrong)
    job._send("update_annotation")
    job._send("update_annotation", file="new.nrrd", settings=["fast"])
    job.update_annotation("new.nrrd")
    time.sleep(0.3)
    job.stop()
    events = []
    assert job.wait(20, events.append)["figures"]["updates"] == ["new.nrrd"]
    assert sum("not used" in event.get("text", "") for event in events) == 7


def test_updates_of_an_annotation_that_cannot_be_used_are_passed_over(tmp_path):
    from phantoms import blob

    from SparseSegLib.worker.commands import Update
    from SparseSegLib.worker.densify_task import _Updates

    told = []

    class Events:
        def message(self, text):
            told.append(text)

    (tmp_path / "folder").mkdir()
    (tmp_path / "text.nrrd").write_text("no image")
    control = Control(CancelSource().token, Events(), Mailbox())
    updates = _Updates(tmp_path, blob().volume.geometry, control, resample=False)
    for name in ("nothing.nrrd", "../outside.nrrd", "folder", "text.nrrd", str(tmp_path / "nothing.nrrd"), "a\0b"):
        control.updates.put(Update(name))
        assert updates.take() is None
    assert len(told) == 6
    assert all(text.startswith("The new annotation is not used: ") for text in told)


HOLD = """
import sys, time
from pathlib import Path
from SparseSegLib.errors import JobError
from SparseSegLib.worker.lock import folder_lock
while time.time() < float(sys.argv[2]):
    pass
try:
    with folder_lock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(0.5)
except JobError:
    print("refused", flush=True)
"""


def test_a_folder_has_one_worker_and_a_dead_one_leaves_no_lock(tmp_path):
    (tmp_path / "worker.lock").write_text("1")  # as an older version left it, of a process that lives
    start = str(time.time() + 1.0)
    command = [sys.executable, "-c", HOLD, str(tmp_path), start]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]
    assert sorted(process.communicate(timeout=20)[0].strip() for process in both) == ["held", "refused", "refused"]
    with folder_lock(tmp_path), pytest.raises(JobError, match="Another worker"), folder_lock(tmp_path):
        pass
    killed = subprocess.Popen(
        [sys.executable, "-c", HOLD.replace("0.5", "60"), str(tmp_path), "0"], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert killed.stdout is not None
    assert killed.stdout.readline().strip() == b"held"
    killed.kill()
    killed.communicate()
    with folder_lock(tmp_path):
        pass


def test_events_never_get_lost_for_what_is_in_them():
    numpy = pytest.importorskip("numpy")
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    line = encode(
        "message",
        text="name \udcff",
        number=float("nan"),
        many={1: numpy.float32(2), 2: {3}},
        path=Path("a"),
        deep=deep,
    )
    line.encode("utf-8")
    event = decode(line)
    assert event is not None
    assert event["text"] == "name \udcff"
    assert event["number"] is None
    assert event["many"] == {"1": 2.0, "2": [3]}


@pytest.mark.parametrize(
    "line",
    [
        b'{"event": "result", "time": 1}',
        b'{"event": "result", "time": 1, "files": [], "figures": {}}',
        b'{"event": "failed", "time": 1, "code": "x"}',
        b'{"event": "preview", "time": 1, "file": 5, "step": 1, "seconds": 1}',
        b'{"event": "progress", "time": 1}',
        b'{"event": ["result"], "time": 1}',
        b'{"event": "message", "time": "now", "text": ""}',
        b'{"event": ' + b"[" * 100_000,
        b"9" * 10_000,
    ],
)
def test_events_that_lack_something_or_are_too_deep_are_none(line):
    assert decode(line) is None


@needs_signals
def test_a_disk_that_is_full_for_the_log_is_no_matter(tmp_path):
    """A limit on the size of files stands for the full disk; the log is at it when the error is to be printed."""
    write_job(tmp_path, "selftest", {}, {"raise_at": 1})
    (tmp_path / "log.txt").write_bytes(b" " * 512 * 8)
    shell = tmp_path / "python"
    shell.write_text(f'#!/bin/sh\nulimit -f 8\nexec {shlex.quote(sys.executable)} "$@"\n')
    shell.chmod(0o755)
    ending = Job(tmp_path, interpreter=str(shell)).start().wait(20)
    assert (ending["event"], ending["code"]) == ("failed", "internal")


@pytest.mark.parametrize("settings", [{"dense": "../x.nrrd"}, {"uncertainty": "/x.nrrd"}, {"dense": 5}])
def test_a_result_stays_in_the_folder_of_its_job(tmp_path, settings):
    from SparseSegLib.worker.densify_task import densify_task

    inputs = {"volumes": ["a.nrrd"], "labels": "b.nrrd"}
    with pytest.raises(JobError, match="no file in the job's folder"):
        densify_task(tmp_path, {"inputs": inputs, "settings": settings}, Control())


@pytest.mark.parametrize(
    ("inputs", "settings", "words"),
    [
        ({"volumes": "a.nrrd", "labels": "b"}, {}, "list of files"),
        ({"volumes": [], "labels": "b"}, {}, "list of files"),
        ({"volumes": [3], "labels": "b"}, {}, "list of files"),
        ({"volumes": ["a"], "labels": 3}, {}, "labels"),
        ({"volumes": ["a"], "labels": "b", "resample": "yes"}, {}, "resample"),
        ({"volumes": ["a"], "labels": "b"}, {"preset": ["fast"]}, "preset must be a text"),
        ({"volumes": ["a"], "labels": "b"}, {"budget_seconds": "10"}, "budget_seconds must be a number"),
        ({"volumes": ["a"], "labels": "b"}, {"seed": 1.5}, "seed must be a whole number"),
        ({"volumes": ["a"], "labels": "b"}, {"estimate": 1}, "estimate must be true or false"),
        ({"volumes": ["a"], "labels": "b"}, {"budget_counts": "all"}, "budget_counts must be everything or learning"),
        ({"volumes": ["a"], "labels": "b"}, {"cluster": 2}, "cluster must be a text"),
        ({"volumes": ["a"], "labels": "b"}, {"prior": [1]}, "prior must be a list"),
        ({"volumes": ["a"], "labels": "b"}, {"tempo": 1}, "no setting"),
        ({"volumes": ["a.nrrd"], "labels": "b.nrrd"}, {"dense": "a.nrrd"}, "replace another file"),
        ({"volumes": ["a.nrrd"], "labels": "b.nrrd"}, {"dense": "c.nrrd", "uncertainty": "c.nrrd"}, "replace another"),
    ],
)
def test_what_a_job_asks_for_is_checked_before_anything_is_read(tmp_path, inputs, settings, words):
    from SparseSegLib.worker.densify_task import densify_task

    with pytest.raises(JobError, match=words):
        densify_task(tmp_path, {"inputs": inputs, "settings": settings}, Control())


def test_a_job_that_is_nested_too_deeply_is_refused_in_words(tmp_path):
    (tmp_path / "job.json").write_text("[" * 100_000)
    with pytest.raises(Exception, match="nested too deeply") as caught:
        read_job(tmp_path)
    assert explain(caught.value)[2] == "file"


def test_a_program_in_the_working_directory_is_not_run(tmp_path, monkeypatch):
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 knows no safe path")
    (tmp_path / "json.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(tmp_path)
    write_job(tmp_path / "job", "selftest", {}, {"steps": 1})
    assert Job(tmp_path / "job").start().wait(20)["event"] == "result"


def test_what_killed_runs_left_is_removed_by_the_next(tmp_path):
    write_job(tmp_path, "selftest", {}, {"steps": 2})
    for name in (".0123456789abcdef.part.nrrd", "preview-000003.nrrd", "mine.part", "preview-mine.nrrd"):
        (tmp_path / name).write_text("half")
    assert Job(tmp_path).start().wait(20)["event"] == "result"
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"mine.part", "preview-mine.nrrd"}
    assert not names & {".0123456789abcdef.part.nrrd", "preview-000003.nrrd"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "resource"),
        (OSError(12, "Cannot allocate memory"), "resource"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "resource"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), "resource"),
        (RuntimeError("can't start new thread"), "resource"),
        (RuntimeError("Failed to allocate memory for image."), "resource"),
        (OSError(28, "No space left on device"), "resource"),
        (ModuleNotFoundError("no", name="torch"), "dependency"),
        (ImportError("DLL load failed while importing _C"), "dependency"),
        (PermissionError(13, "Permission denied"), "file"),
        (ValueError("a bug"), "internal"),
    ],
)
def test_whatever_ends_a_task_has_words(error, code):
    message, hint, found, status = explain(error)
    assert found == code
    assert message
    assert hint
    assert status > 0


@needs_signals
def test_too_little_address_space_is_too_little_memory(tmp_path):
    write_job(tmp_path, "densify", {"volumes": ["a.nrrd"], "labels": "b.nrrd"}, {})
    shell = tmp_path / "python"
    shell.write_text(f'#!/bin/sh\nulimit -v 400000\nexec {shlex.quote(sys.executable)} "$@"\n')
    shell.chmod(0o755)
    ending = Job(tmp_path, interpreter=str(shell)).start().wait(60)
    assert ending["event"] == "failed"
    assert ending["code"] in ("resource", "crashed"), ending


@needs_signals
def test_a_worker_killed_in_its_sleep_can_be_started_again(tmp_path):
    job = _working(tmp_path)
    os.kill(job._process.pid, signal.SIGKILL)
    assert job.wait(10)["code"] == "crashed"
    write_job(tmp_path, "selftest", {}, {"steps": json.loads((tmp_path / "count.json").read_text()) + 2})
    assert job.resume().wait(20)["event"] == "result"
