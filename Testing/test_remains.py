"""What crashes leave on the disk: found, shown and removed; what is in use, models and other files stay."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from SparseSegLib.cli import main
from SparseSegLib.files import TemporaryFolder
from SparseSegLib.jobs.remains import find_remains, remove_remains
from SparseSegLib.models.library import user_folder

ROOT = Path(__file__).resolve().parents[1]
DAY = 86_400
OTHER = """
import sys
from SparseSegLib.files import TemporaryFolder

folder = TemporaryFolder()
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk with remains of every kind, and with what must stay; the remains and the rest by name."""
    system, data = tmp_path / "tmp", tmp_path / "data"
    monkeypatch.setattr("tempfile.tempdir", str(system))
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    monkeypatch.setenv("LOCALAPPDATA", str(data))
    monkeypatch.setenv("HOME", str(data))
    monkeypatch.delenv("SPARSESEG_MODELS", raising=False)
    monkeypatch.setattr("SparseSegLib.jobs.remains.MEMORY", tmp_path / "memory")
    logs = user_folder().parent / "Logs"
    remains = {
        "crashed": system / "sparseseg-crashed" / "in-use.lock",
        "kept": system / "sparseseg-kept" / "job.json",
        "Slicer's": system / "Slicer-me" / "sparseseg-1" / "in-use.lock",
        "memory": tmp_path / "memory" / "sparseseg-2" / "in-use.lock",
        "note": system / "sparseseg-reading-abc",
        "log": logs / "20260101-120000-77.txt",
    }
    rest = {
        "another's": system / "sparseseg-notes" / "text.txt",
        "another program's": system / "other-1" / "in-use.lock",
        "Slicer's own": system / "Slicer-me" / "scene.mrb",
        "a model": user_folder() / "liver" / "model.json",
        "a text": logs / "notes.txt",
    }
    for path in (*remains.values(), *rest.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(10))
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    (system / "sparseseg-crashed" / "job-1").mkdir()
    (system / "sparseseg-crashed" / "job-1" / "image.nrrd").write_bytes(bytes(1000))
    return remains, rest


def test_the_remains_are_found_and_nothing_else(disk):
    remains, _ = disk
    found = {one.path for one in find_remains()}
    whole = {path if path.suffix == ".txt" or "reading" in path.name else path.parent for path in remains.values()}
    assert found == whole
    assert max(one.size for one in find_remains()) >= 1010


def test_they_are_removed_and_all_else_stays(disk, tmp_path):
    remains, rest = disk
    assert remove_remains(find_remains()) == []
    assert not any(path.exists() for path in remains.values())
    assert all(path.exists() for path in rest.values())
    assert find_remains() == []


def test_what_a_process_uses_stays_until_it_ends(disk):
    command = [sys.executable, "-c", OTHER]
    environment = {**os.environ, "TMPDIR": str(Path(disk[0]["crashed"]).parents[1]), "PYTHONPATH": str(ROOT)}
    environment |= {"TEMP": environment["TMPDIR"], "TMP": environment["TMPDIR"]}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        folder = Path(process.stdout.readline().strip())
        os.utime(folder / "in-use.lock", (time.time() - DAY,) * 2)
        before = find_remains()
        assert [one.path for one in before if one.in_use] == [folder]
        assert [one.path for one in remove_remains(before)] == [folder]
        process.communicate("", timeout=60)
    assert [(one.path, one.in_use) for one in find_remains()] == [(folder, False)]


def test_a_worker_keeps_its_folder(disk):
    from SparseSegLib.worker.lock import folder_lock

    folder = disk[0]["kept"].parent
    with folder_lock(folder):
        assert [one.path for one in find_remains() if one.in_use] == [folder]
    assert not any(one.in_use for one in find_remains())


def test_a_folder_that_is_kept_is_no_longer_locked(disk):
    folder = TemporaryFolder()
    (folder.path / "job.json").touch()
    folder.keep()
    assert folder.path in [one.path for one in find_remains() if not one.in_use]


def test_the_command_shows_and_removes_only_what_it_may(disk, capsys, monkeypatch):
    remains, rest = disk
    assert main(["clean"]) == 0
    shown = capsys.readouterr()
    assert "sparseseg-crashed" in shown.err
    assert "nothing was removed: 6 could be" in shown.out
    assert main(["clean", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["left"]) == 6
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["clean"]) == 0
    assert all(path.exists() for path in remains.values())
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main(["clean"]) == 0
    assert "removed 6" in capsys.readouterr().out
    assert not any(path.exists() for path in remains.values())
    assert main(["clean", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert all(path.exists() for path in rest.values())


NETWORK = re.compile(r"^\s*(import|from) (socket|ssl|urllib|http|ftplib|smtplib|requests|httpx)\b", re.MULTILINE)
ADDRESS = re.compile("https?://")
KNOWN = {"SparseSeg/SparseSegModule/sampleData.py", "SparseSegLib/exchange/monai_files.py"}
"""Where samples are that an installation lacks, and the schema that MONAI's metadata names."""


def test_nothing_in_the_sources_opens_a_connection_by_itself():
    sources = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("SparseSeg", "SparseSegLib")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(sources) > 300
    assert [name for name, text in sources.items() if NETWORK.search(text)] == []
    assert {name for name, text in sources.items() if ADDRESS.search(text)} <= KNOWN
