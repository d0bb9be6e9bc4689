"""Names that every system takes, paths that stay inside a folder, and what killed runs leave behind."""

import os
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SparseSegLib.errors import FileError, JobError
from SparseSegLib.files import (
    atomic_path,
    path_inside,
    remove_leftovers,
    remove_previews,
    replace_file,
    safe_file_name,
    write_text,
)
from SparseSegLib.files.names import LONGEST
from SparseSegLib.text import plain_text


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("p1", "p1"),
        ("Müller 日本", "Müller 日本"),
        ("a/b\\c:d", "a-b-c-d"),
        ("..", "unnamed"),
        ("ends. ", "ends"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("com1", "_com1"),
        ("COM²", "_COM²"),
        ("console", "console"),
        ("a\x07b\u202egnp\n", "abgnp"),
        ("\udcffx", "x"),
        ("", "unnamed"),
    ],
)
def test_names_become_such_that_every_system_takes(name, safe):
    assert safe_file_name(name) == safe


def test_long_names_are_cut_and_stay_different():
    first, second = safe_file_name("ä" * 300 + "1"), safe_file_name("ä" * 300 + "2")
    assert first != second
    assert max(len(name.encode()) for name in (first, second)) <= LONGEST
    assert first.startswith("ää")


@given(st.text(max_size=300))
def test_any_text_gives_a_name_for_a_file(text):
    name = safe_file_name(text)
    assert 0 < len(name.encode("utf-8")) <= LONGEST
    assert not set(name) & set('<>:"/\\|?*')
    assert name == name.strip(". ")
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs") for character in name)
    assert safe_file_name(name) == name


@given(st.text())
def test_plain_text_has_nothing_that_nobody_sees(text):
    plain_text(text).encode("utf-8")
    assert plain_text(plain_text(text)) == plain_text(text)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "C:\\x", "\\\\host\\x", "C:x", "..", ".", "", "a\0b", 5, None, ["x"], "out/x"]
)
def test_paths_that_leave_a_folder_are_refused(tmp_path, name):
    folder = tmp_path / "job"
    folder.mkdir()
    if hasattr(os, "symlink"):
        try:
            (folder / "out").symlink_to(tmp_path, target_is_directory=True)
        except OSError:
            pytest.skip("no links here")
    with pytest.raises(JobError, match="no file in the job's folder"):
        path_inside(folder, name)


def test_paths_inside_a_folder_are_taken(tmp_path):
    assert path_inside(tmp_path, "dense ü.seg.nrrd") == tmp_path / "dense ü.seg.nrrd"
    assert path_inside(tmp_path, "sub/dense.nrrd") == tmp_path / "sub" / "dense.nrrd"


def test_only_old_files_of_our_own_names_are_removed(tmp_path):
    old, others = [".0123456789abcdef.part.seg.nrrd", ".0123456789abcdef.part"], ["a.part", ".x.part", "preview-1.nrrd"]
    for name in (*old, *others, "preview-000012.nrrd"):
        (tmp_path / name).write_text("half")
    remove_leftovers(tmp_path, time.time() - 60)
    assert len(list(tmp_path.iterdir())) == 6
    remove_leftovers(tmp_path, time.time() + 60)
    assert {path.name for path in tmp_path.iterdir()} == {*others, "preview-000012.nrrd"}
    remove_previews(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(others)
    remove_leftovers(tmp_path / "nowhere", time.time())


def test_what_is_half_written_is_known_by_its_name(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "x.seg.nrrd") as temporary:
        temporary.write_text("half")
        left = tmp_path / ("." + "0" * 16 + temporary.name[17:])
        left.write_text("half")
        raise KeyboardInterrupt
    remove_leftovers(tmp_path, time.time() + 60)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_open_on_windows_is_waited_for_and_then_told(tmp_path, monkeypatch):
    refused = []

    def replace(source: Path, target: Path) -> None:
        refused.append(target)
        raise PermissionError(13, "in use")

    monkeypatch.setattr("SparseSegLib.files.atomic._WINDOWS", True)
    monkeypatch.setattr("SparseSegLib.files.atomic.time.sleep", lambda seconds: None)
    monkeypatch.setattr("SparseSegLib.files.atomic.os.replace", replace)
    with pytest.raises(FileError, match="in use") as caught:
        write_text(str(tmp_path / "x.txt"), "text")
    assert "open" in caught.value.hint
    assert len(refused) > 3
    refused.clear()
    monkeypatch.setattr("SparseSegLib.files.atomic._WINDOWS", False)
    with pytest.raises(PermissionError):
        replace_file("a", "b")
    assert len(refused) == 1
