"""The worker process and its client, with a task that computes nothing; recorded sessions; what goes wrong."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import fork_worker
from phantoms import blob
from recorded import Recorded

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.errors import FileError, JobError, SparseSegError
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.protocol import (
    COMMANDS,
    ENDINGS,
    EVENTS,
    VERSION,
    decode,
    decode_command,
    encode,
    encode_command,
    read_job,
)
from SparseSegLib.worker.lock import folder_lock

SESSIONS = sorted((Path(__file__).parent / "Data" / "sessions").glob("*.jsonl"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "Ordner mit ü und 日本語"


def _job(folder: Path, **settings: object) -> Job:
    write_job(folder, "selftest", {}, settings)
    return Job(folder)


def _collect(job: Job, timeout: float = 20) -> list[dict]:
    events: list[dict] = []
    job.wait(timeout, events.append)
    return events


def test_the_client_imports_neither_torch_nor_numpy():
    code = "import sys, SparseSegLib.jobs; print([m for m in ('torch', 'numpy', 'SimpleITK') if m in sys.modules])"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    ).stdout
    assert modules.strip() == "[]"


def test_a_job_tells_what_it_does_and_ends_once(folder):
    job = _job(folder, steps=6, preview_every=2, print_at=3).start()
    events = _collect(job)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "result"
    assert sum(kind in ENDINGS for kind in kinds) == 1
    assert events[-1]["figures"]["steps"] == 6
    assert json.loads((folder / events[-1]["files"]["result"]).read_text()) == 6
    assert [event["file"] for event in events if event["event"] == "preview"][-1] == "preview-000006.txt"
    assert not job.running
    assert job.poll() == []
    assert "noise" in (folder / "log.txt").read_text()
    with folder_lock(folder):
        pass  # nobody holds it any longer


def test_heartbeats_come_while_the_task_is_silent(folder):
    events = _collect(_job(folder, steps=1, seconds_per_step=2.5).start())
    assert sum(event["event"] == "heartbeat" for event in events) >= 2


def test_a_user_error_keeps_its_code_and_hint(folder):
    ending = _job(folder, fail_at=2).start().wait(20)
    assert (ending["event"], ending["code"]) == ("failed", "volume")
    assert ending["hint"] == "Take another one."


def test_a_bug_is_internal_and_its_traceback_is_in_the_log(folder):
    ending = _job(folder, raise_at=2).start().wait(20)
    assert ending["code"] == "internal"
    assert "a bug" in (folder / "log.txt").read_text()


def test_a_crash_is_told_with_the_log_and_the_job_goes_on(folder):
    job = _job(folder, steps=8, crash_at=5).start()
    ending = job.wait(20)
    assert (ending["event"], ending["code"]) == ("failed", "crashed")
    write_job(folder, "selftest", {}, {"steps": 8})
    assert job.resume().wait(20)["figures"]["started_at"] == 4


def test_a_crash_names_the_file_that_was_being_read(folder):
    ending = _job(folder, crash_at=2, reading="scan ü.nrrd").start().wait(20)
    assert "while it read scan ü.nrrd" in ending["message"]
    assert "export it again" in ending["hint"]
    assert not _job(folder, steps=8).start().wait(20).get("message")
    assert not (folder / "reading.txt").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_worker_loses_no_finished_step_and_leaves_no_broken_file(folder):
    job = _job(folder, steps=400, seconds_per_step=0.01).start()
    deadline = time.monotonic() + 10
    while not any(event.get("step", 0) >= 20 for event in job.poll()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(job._process.pid, signal.SIGKILL)
    assert job.wait(10)["code"] == "crashed"
    done = json.loads((folder / "count.json").read_text())
    assert done >= 20
    write_job(folder, "selftest", {}, {"steps": done + 3})
    assert job.resume().wait(20)["figures"] == {"steps": done + 3, "started_at": done, "updates": []}


@pytest.mark.skipif(os.name == "nt", reason="ulimit")
def test_a_full_disk_is_said_and_leaves_no_broken_file(folder, tmp_path):
    """A limit on the size of files stands for the full disk: writing stops in the middle of the checkpoint."""
    phantom = blob()
    folder.mkdir()
    write_image(phantom.volume.array, phantom.volume.geometry, folder / "image.nrrd")
    write_sparse_labels(sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2)), folder / "drawn.nrrd")
    small_disk = tmp_path / "python-on-a-small-disk"
    small_disk.write_text(f'#!/bin/sh\nulimit -f 256\nexec {shlex.quote(sys.executable)} "$@"\n')
    small_disk.chmod(0o755)
    inputs = {"volumes": ["image.nrrd"], "labels": "drawn.nrrd"}
    write_job(folder, "densify", inputs, {"budget_steps": 4, "device": "cpu", "checkpoint_seconds": 0.0})
    before = sorted(path.name for path in folder.iterdir())
    ending = Job(folder, interpreter=str(small_disk)).start().wait(60)
    assert (ending["event"], ending["code"]) == ("failed", "resource")
    assert "disk is full" in ending["message"]
    assert ending["hint"]
    preview = folder / "preview-000000.nrrd"  # may have been written before the disk was full, and is whole then
    if preview.exists():
        assert read_labels(preview)[0].max() == 1
        preview.unlink()
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "log.txt", "worker.lock"])
    assert Job(folder, launch=fork_worker).start().wait(60)["event"] == "result"


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_cancel_ends_the_whole_tree_even_if_the_worker_does_not_listen(folder):
    job = _job(folder, steps=10_000, ignore_cancel=True, child_seconds=60).start()
    child = None
    while child is None:
        child = next((int(event["text"].split()[1]) for event in job.poll() if event["event"] == "message"), None)
        time.sleep(0.01)
    job.cancel()
    assert _alive(child), "whoever cancels does not wait"
    assert job.wait(10)["event"] == "canceled"
    assert not _alive(child)


def test_a_worker_that_listens_is_canceled_at_once(folder, monkeypatch):
    monkeypatch.setattr("SparseSegLib.jobs.job.CANCEL_SECONDS", 1000.0)  # after which it would be killed
    job = _job(folder, steps=10_000).start()
    while not any(event["event"] == "progress" for event in job.poll()):
        time.sleep(0.01)
    job.cancel()
    assert job.wait(10)["event"] == "canceled"


def test_stop_and_updates_reach_the_worker(folder):
    job = _job(folder, steps=10_000).start()
    while not any(event["event"] == "progress" for event in job.poll()):
        time.sleep(0.01)
    job.update_annotation("new ü.seg.nrrd")
    time.sleep(0.3)
    job.stop()
    ending = job.wait(10)
    assert ending["event"] == "result"
    assert ending["figures"]["updates"] == ["new ü.seg.nrrd"]
    assert ending["figures"]["steps"] < 10_000


def test_a_worker_whose_client_is_gone_ends(folder):
    job = _job(folder, steps=10_000).start()
    while not any(event["event"] == "progress" for event in job.poll()):
        time.sleep(0.01)
    job._process.stdin.close()
    assert job.wait(10)["event"] == "canceled"


def test_two_jobs_work_side_by_side_but_not_in_one_folder(tmp_path):
    first, second = _job(tmp_path / "a", steps=100).start(), _job(tmp_path / "b", steps=5).start()
    while not any(event["event"] == "progress" for event in first.poll()):
        time.sleep(0.01)
    intruder = Job(tmp_path / "a").start().wait(20)
    assert (intruder["event"], intruder["code"]) == ("failed", "job")
    assert second.wait(20)["event"] == "result"
    assert first.wait(20)["event"] == "result"


def test_leaving_the_context_ends_the_process(folder):
    write_job(folder, "selftest", {}, {"steps": 10_000})
    with Job(folder) as job:
        assert job.running
    assert not job.running
    assert job._process.poll() is not None


@pytest.mark.parametrize(
    ("content", "code"), [(None, "file"), ("{", "file"), ('{"format": 99, "task": "selftest"}', "file")]
)
def test_a_folder_that_holds_no_job_fails_clearly(folder, content, code):
    folder.mkdir()
    if content is not None:
        (folder / "job.json").write_text(content)
    assert Job(folder).start().wait(20)["code"] == code
    with pytest.raises(FileError):
        read_job(folder)


def test_an_interpreter_that_is_not_there_is_told(folder):
    write_job(folder, "selftest", {}, {})
    with pytest.raises(JobError, match="could not be started"):
        Job(folder, interpreter="/nowhere/python").start()


@pytest.mark.parametrize("session", SESSIONS, ids=lambda path: path.stem)
def test_recorded_sessions_are_understood(session, tmp_path):
    """File names say how the session ended: ENDING-CODE-anything.jsonl."""
    ending, code = session.stem.split("-")[:2]
    events = _collect(Job(tmp_path, launch=lambda *_: Recorded(session.read_bytes(), 0)).start(), 5)
    assert events[-1]["event"] == ending
    assert events[-1].get("code", "none") == code
    assert sum(event["event"] in ENDINGS for event in events) == 1
    assert all(event["event"] in EVENTS for event in events)


def test_there_are_recorded_sessions():
    assert len(SESSIONS) >= 4


@pytest.mark.parametrize(
    "line", [b"", b"\xff\xfe", b"[]", b"{", b'{"event": "party", "time": 1}', b'{"event": "result"}', b"noise"]
)
def test_foreign_lines_are_no_events(line):
    assert decode(line) is None


def test_events_and_commands_come_back():
    assert decode(encode("message", text="日本"))["text"] == "日本"
    assert decode_command(encode_command("stop")) == {"command": "stop"}
    assert decode_command('{"command": "dance"}') is None
    assert decode_command("[") is None


def test_the_page_of_the_protocol_names_every_word():
    page = (Path(__file__).parents[1] / "Resources" / "Documentation" / "protocol.md").read_text(encoding="utf-8")
    codes = {kind.code: kind.exit_code for kind in SparseSegError.__subclasses__()}
    assert f"Version {VERSION}." in page
    for word in (*EVENTS, *COMMANDS, "crashed", "internal"):
        assert f"`{word}`" in page
    for code, status in codes.items():
        if code != "canceled":
            assert f"| `{code}` | {status} |" in page
