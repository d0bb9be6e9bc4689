"""Mutated lines in both directions, job files and checkpoints: each is refused in words or passed over."""

import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from cohort_helpers import Listener
from hypothesis import given
from hypothesis import strategies as st
from phantoms import blob
from protocol_mutations import mutated_bytes, mutated_json, new_generator
from recorded import Recorded
from test_jobs import SESSIONS

from SparseSegLib.annotation import sparsify, write_sparse_labels
from SparseSegLib.control import CancelSource, Control
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.errors import SparseSegError
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.protocol import ENDINGS, EVENTS, JOB_FILE, decode, decode_command, encode, encode_command, read_job
from SparseSegLib.training.checkpoint import MARK, find_checkpoint, load_checkpoint, save_checkpoint
from SparseSegLib.worker.explain import explain
from SparseSegLib.worker.tasks import find_task

SOME, MANY = 12, 250
EVERY_RUN = [SOME, pytest.param(MANY, marks=pytest.mark.slow)]
COMMANDS = [
    encode_command("update_annotation", file="new ü.seg.nrrd"),
    encode_command("stop"),
    encode_command("cancel"),
]
SECONDS = 20.0


@pytest.fixture(scope="module")
def small():
    """A small volume and its sparse labels."""
    phantom = blob(Geometry.identity((10, 16, 16), (1.0, 1.0, 1.0)))
    return phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (2, 1, 1))


@pytest.mark.parametrize("count", EVERY_RUN)
def test_a_worker_passes_over_mutated_commands(count, tmp_path):
    rng = new_generator()
    write_job(tmp_path, "selftest", {}, {"steps": 100_000})
    job = Job(tmp_path).start()
    sent = 0
    while sent < count:
        line = mutated_bytes(COMMANDS[sent % 3].encode(), rng).replace(b"\n", b" ")
        command = decode_command(line)
        if command is None or command["command"] not in ("stop", "cancel"):
            job._process.stdin.write(line + b"\n")
            job._process.stdin.flush()
        sent += 1
    job.stop()
    events = []
    ending = job.wait(60, events.append)
    assert ending["event"] == "result"
    assert all(isinstance(name, str) for name in ending["figures"]["updates"])


@pytest.mark.parametrize("count", EVERY_RUN)
def test_a_client_passes_over_mutated_events(count, tmp_path):
    rng = new_generator()
    recorded = [session.read_bytes() for session in SESSIONS]
    for number in range(count):
        output = mutated_bytes(recorded[number % len(recorded)], rng)
        job = Job(tmp_path, launch=lambda *_, output=output: Recorded(output, 0)).start()
        events: list[dict] = []
        job.wait(30, events.append)
        assert sum(event["event"] in ENDINGS for event in events) == 1
        assert all(event["event"] in EVENTS for event in events)
        assert events[-1]["event"] in ENDINGS


@pytest.mark.parametrize("count", EVERY_RUN)
def test_any_event_can_be_sent(count):
    rng = new_generator()
    good = {
        "files": {"dense": "d.nrrd"},
        "figures": {"steps": 5, "cases": [{"name": "a", "seconds": 1.5}], "left": None},
    }
    for _ in range(count):
        fields = mutated_json(good, rng)
        line = encode("result", **{str(key): value for key, value in fields.items()})
        line.encode("utf-8")
        assert "\n" not in line
        event = decode(line)
        assert event is None or (isinstance(event["files"], dict) and isinstance(event["figures"], dict))


@pytest.mark.parametrize("count", EVERY_RUN)
def test_mutated_checkpoints_are_told_and_the_training_starts_over(count, tmp_path, small):
    rng = new_generator()
    settings = DensifySettings(budget_steps=2, device="cpu", estimate=False, checkpoint_seconds=0.0)
    path = tmp_path / "checkpoint.pt"
    densify(*small, settings, checkpoint=path)
    good = path.read_bytes()
    start = len(MARK) + hashlib.sha256().digest_size
    state = load_checkpoint(path)
    for number in range(count):
        if number % 3 == 0:
            content = mutated_bytes(good, rng)
        else:  # somebody else made it, and took care of the checksum
            saved = mutated_bytes(good[start:], rng)
            content = MARK + hashlib.sha256(saved).digest() + saved
        path.write_bytes(content)
        told = Listener()
        found = find_checkpoint(path, told)
        assert content == good or found is not None or "starts over" in told.messages[0]
    for _ in range(max(2, count // 50)):  # of the right form, with something else in it
        save_checkpoint(path, _mutated_state(state, rng))
        assert densify(*small, settings, checkpoint=path).steps >= 2


def _mutated_state(state: dict, rng: np.random.Generator) -> dict:
    """A checkpoint's content in which something is missing, or is something else."""
    state = dict(state)
    part = state if rng.integers(2) else state["ensemble"]
    names = [name for name in part if name not in ("fingerprint",)]
    name = names[rng.integers(len(names))]
    changed = dict(part)
    changed[name] = [None, "x", -1, {}, [], torch.zeros(3)][rng.integers(6)]
    if rng.integers(3) == 0:
        del changed[name]
    return changed if part is state else {**state, "ensemble": changed}


@pytest.mark.parametrize("count", EVERY_RUN)
def test_mutated_jobs_are_done_or_refused_in_words(count, tmp_path, small):
    rng = new_generator()
    folder = tmp_path / "job"
    folder.mkdir()
    volume, labels = small
    write_image(volume.array, volume.geometry, folder / "image.nrrd")
    write_sparse_labels(labels, folder / "drawn.nrrd")
    inputs = {"volumes": ["image.nrrd"], "labels": "drawn.nrrd", "resample": False}
    settings = {
        "preset": "fast", "budget_steps": 1, "budget_seconds": 5, "seed": 3, "device": "cpu", "margin": 0.1,
        "prior": ["walk"], "experts": ["slice-unet"], "estimate": True, "stop_early": False, "preview_seconds": 5,
        "checkpoint_seconds": 5, "dense": "dense.seg.nrrd", "uncertainty": "uncertainty.nrrd",
    }  # fmt: skip
    write_job(folder, "densify", inputs, settings)
    good = (folder / JOB_FILE).read_bytes()
    refused = 0
    for number in range(count):
        content = mutated_bytes(good, rng)
        if number % 3:
            content = json.dumps(mutated_json(json.loads(good), rng)).encode()
        (folder / JOB_FILE).write_bytes(content)
        refused += not _run(folder)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["job"]
        assert not list(folder.glob(".*"))
    assert refused > count // 3


def _run(folder: Path) -> bool:
    """Run a job here; whether it was done. Any error must have words of its own."""
    source = CancelSource()
    late = threading.Timer(SECONDS, source.cancel)
    late.start()
    try:
        job = read_job(folder)
        find_task(job["task"])(folder, job, Control(source.token, Listener(at=1, action=source.stop)))
        return True
    except SparseSegError:
        return False
    except Exception as error:
        assert explain(error)[2] != "internal", (folder / JOB_FILE).read_bytes()[:3000]
        return False
    finally:
        late.cancel()
        (folder / "checkpoint.pt").unlink(missing_ok=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=20,
)


@given(st.text(st.characters()))
def test_every_text_comes_back_as_it_was_sent(text):
    line = encode("message", text=text)
    assert "\n" not in line
    assert decode(line.encode("utf-8"))["text"] == text
    assert decode_command(encode_command("update_annotation", file=text).encode("utf-8"))["file"] == text


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_whatever_figures_there_are_the_result_is_told(figures):
    event = decode(encode("result", files={}, figures=figures).encode("utf-8"))
    assert event is not None
    assert set(event["figures"]) == set(figures)


@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_line_is_taken_for_what_it_is_not(line):
    event, command = decode(line), decode_command(line)
    assert event is None or event["event"] in EVENTS
    assert command is None or command["command"] in ("update_annotation", "stop", "cancel")
