"""Replacing, adding, combining and removing models: whatever ends the program, the old or the new one is there."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cohort_helpers import CARD, SMALL

from SparseSegLib.errors import FileError, ModelError, UsageError
from SparseSegLib.files.replacing import locate
from SparseSegLib.models import (
    ModelLibrary,
    check_target,
    combine_bundles,
    copy_bundle,
    files,
    load_card,
    load_network,
    save_bundle,
)
from SparseSegLib.models.bundle import load_weights
from SparseSegLib.models.library import RESERVED
from SparseSegLib.models.lock import library_lock
from SparseSegLib.networks import create_network

ROOT = Path(__file__).parents[1]
CALLS = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync")


class Dead(BaseException):
    """The program was ended."""


class Crash:
    """Ends the program at the n-th call that changes the disk: that one and all later ones do nothing but raise."""

    def __init__(self, monkeypatch, call):
        self.calls, self.call = 0, call
        for name in CALLS:
            monkeypatch.setattr(os, name, self._dying(getattr(os, name)))
        monkeypatch.setattr(shutil, "rmtree", self._dying(shutil.rmtree))

    def _dying(self, function):
        def call(*arguments, **options):
            self.calls += 1
            if self.calls >= self.call:
                raise Dead
            return function(*arguments, **options)

        return call


def _save(path, text, seed=0):
    torch.manual_seed(seed)
    card = replace(CARD, name="model", arguments=SMALL, summary=text)
    return save_bundle(path, card, create_network(CARD.network, 1, 2, **SMALL).state_dict())


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two bundles of one name: an old one and a new one, and the new one as a zip."""
    folder = tmp_path_factory.mktemp("bundles")
    _save(folder / "old", "old")
    _save(folder / "new", "new", 1)
    copy_bundle(folder / "new", folder / "new.zip")
    return folder


def _import(bundles, library):
    library.add(bundles / "new", overwrite=True)


def _import_zip(bundles, library):
    library.add(bundles / "new.zip", overwrite=True)


def _copy(bundles, library):
    copy_bundle(bundles / "new", library.folder / "model")


def _combine(bundles, library):
    combine_bundles([bundles / "new", bundles / "new"], library.folder / "model", "model")


def _save_again(bundles, library):
    _save(library.folder / "model", "new", 1)


@pytest.mark.parametrize("change", [_import, _import_zip, _copy, _combine, _save_again])
def test_wherever_replacing_is_ended_a_whole_model_is_there(bundles, tmp_path, change):
    seen = set()
    for call in range(1, 60):
        library = ModelLibrary(tmp_path / str(call), ())
        library.add(bundles / "old")
        with pytest.MonkeyPatch.context() as monkeypatch:
            crash = Crash(monkeypatch, call)
            try:
                change(bundles, library)
                ended = False
            except Dead:
                ended = True
        seen.add(_check_whole(library))
        if not ended:
            assert crash.calls < call
            break
        library.add(bundles / "new", overwrite=True)
        assert load_card(library.folder / "model").summary == "new"
        assert sorted(os.listdir(library.folder)) == [".lock", "model"]
    assert not ended
    assert len(seen) == 2


def _check_whole(library):
    """What the one model of the library says of itself; it is whole, and the same after what is left is cleared up."""
    summary = load_weights(library.folder / "model")[0].summary
    (entry,) = library.entries()
    assert (entry.problem, entry.card.summary) == ("", summary)
    assert library.find("model").path == library.folder / "model"
    with pytest.raises(UsageError, match="already"):
        library.add(library.folder / "model")
    assert load_weights(library.folder / "model")[0].summary == summary
    assert sorted(os.listdir(library.folder)) == [".lock", "model"]
    return summary


def test_wherever_removing_is_ended_the_model_is_whole_or_gone(bundles, tmp_path):
    for call in range(1, 30):
        library = ModelLibrary(tmp_path / str(call), ())
        library.add(bundles / "old")
        library.add(_renamed(bundles / "new", tmp_path / f"{call}.zip", "other"))
        with pytest.MonkeyPatch.context() as monkeypatch:
            crash = Crash(monkeypatch, call)
            with contextlib.suppress(Dead):
                library.remove("model")
        names = [entry.name for entry in library.entries()]
        assert names in (["model", "other"], ["other"])
        for name in names:
            load_network(library.find(name).path)
        library.remove("other")
        assert sorted(os.listdir(library.folder)) == [".lock", *names[:-1]]
        if crash.calls < call:
            break
    assert names == ["other"]


def _renamed(source, target, name):
    card, weights = load_weights(source)
    save_bundle(target, replace(card, name=name), weights)
    return target


def test_readers_see_the_old_one_or_the_new_one_while_it_is_replaced_again_and_again(bundles, tmp_path):
    library = ModelLibrary(tmp_path / "library", ())
    path = library.add(bundles / "old").path
    done = threading.Event()

    def write():
        for _ in range(15):
            for name in ("new.zip", "old"):
                library.add(bundles / name, overwrite=True)
        done.set()

    seen = set()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not done.is_set() and not writing.done():
            (entry,) = library.entries()
            assert entry.problem == ""
            seen.add(load_weights(path)[0].summary)
            copy_bundle(path, tmp_path / "copy.zip")
        writing.result()
    assert seen <= {"old", "new"}


def test_a_model_is_listed_though_it_is_replaced_after_its_place_was_looked_up(bundles, tmp_path, monkeypatch):
    library = ModelLibrary(tmp_path / "library", ())
    library.add(bundles / "old")
    looked_up = []

    def outdated(path):
        looked_up.append(path)
        if len(looked_up) != 2:
            return locate(path)
        library.add(bundles / "new", overwrite=True)
        return path.with_name(f".{path.name}.0123456789abcdef.old")

    monkeypatch.setattr(files, "locate", outdated)
    (entry,) = library.entries()
    assert entry.card.summary == "new"
    assert len(looked_up) > 2


def test_one_of_four_imports_at_once_wins_and_the_others_are_told(bundles, tmp_path):
    library = ModelLibrary(tmp_path / "library", ())

    def add(number):
        try:
            return library.add(bundles / "new" if number % 2 else bundles / "new.zip")
        except UsageError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(add, range(4)))
    refused = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(refused) == 3
    assert all("already" in words for words in refused)
    assert len(library.entries()) == 1
    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(lambda _: library.add(bundles / "new", overwrite=True), range(4)))
    assert all(entry.replaced for entry in entries)
    assert not ModelLibrary(tmp_path / "other", ()).add(bundles / "new", overwrite=True).replaced
    load_network(library.find("model").path)


def test_another_program_that_changes_the_library_is_waited_for_and_told_of(bundles, tmp_path, monkeypatch):
    code = (
        "import sys; from pathlib import Path; from SparseSegLib.models.lock import library_lock\n"
        "with library_lock(Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    )
    library = ModelLibrary(tmp_path / "library", ())
    library.add(bundles / "old")
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(library.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert other.stdout.readline()
    monkeypatch.setattr("SparseSegLib.models.library.library_lock", lambda folder: library_lock(folder, 0.1))
    with pytest.raises(FileError, match="Another program is changing"):
        library.add(bundles / "new", overwrite=True)
    assert library.find("model").card.summary == "old"
    other.kill()
    other.communicate()
    assert library.add(bundles / "new", overwrite=True).card.summary == "new"


def test_a_library_that_cannot_be_written_is_read_and_said(bundles, tmp_path):
    (tmp_path / "library" / ".lock").mkdir(parents=True)
    copy_bundle(bundles / "old", tmp_path / "library" / "model")
    library = ModelLibrary(tmp_path / "library", ())
    with pytest.raises(FileError, match="cannot be changed"):
        library.add(bundles / "new", overwrite=True)
    assert library.find("model").card.summary == "old"


def test_a_place_that_fails_keeps_the_old_one(bundles, tmp_path, monkeypatch):
    """As on Windows, where a file of the old one is open; and where the disk fails between the two renames."""
    copy_bundle(bundles / "old", tmp_path / "model")
    real = os.replace
    for fails in ("old", "part"):

        def failing(source, target, fails=fails):
            moved = Path(target).name if fails == "old" else Path(source).name
            if moved.endswith(f".{fails}"):
                raise PermissionError(13, "it is open")
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", failing)
            with pytest.raises(FileError, match="it is open"):
                copy_bundle(bundles / "new", tmp_path / "model")
        assert load_weights(tmp_path / "model")[0].summary == "old"
        assert os.listdir(tmp_path) == ["model"]


def test_what_lies_in_a_models_folder_is_not_thrown_away(bundles, tmp_path):
    copy_bundle(bundles / "old", tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("precious")
    with pytest.raises(ModelError, match=r"something else \(notes\.txt\)"):
        copy_bundle(bundles / "new", tmp_path / "model")
    assert (tmp_path / "model" / "notes.txt").read_text() == "precious"
    with pytest.raises(ModelError):
        check_target(tmp_path / "model")
    for free in ("nothing", "nothing.zip"):
        check_target(tmp_path / free)
    (tmp_path / "model" / "notes.txt").rename(tmp_path / "model" / ".DS_Store")
    assert copy_bundle(bundles / "new", tmp_path / "model").summary == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="the folder that a program is in cannot be moved")
def test_the_folder_that_one_is_in_can_be_named_by_a_dot(bundles, tmp_path, monkeypatch):
    copy_bundle(bundles / "old", tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    assert copy_bundle(bundles / "new", ".").summary == "new"
    assert load_weights(tmp_path / "model")[0].summary == "new"


def test_a_bad_bundle_replaces_nothing(bundles, tmp_path):
    for target in (tmp_path / "model", tmp_path / "model.zip"):
        copy_bundle(bundles / "old", target)
        bad = tmp_path / "bad.zip"
        with zipfile.ZipFile(bundles / "new.zip") as archive, zipfile.ZipFile(bad, "w") as damaged:
            damaged.writestr("model.json", archive.read("model.json"))
            damaged.writestr("weights.safetensors", archive.read("weights.safetensors")[:-1] + b"x")
        with pytest.raises(ModelError, match="SHA-256"):
            copy_bundle(bad, target)
        assert load_weights(target)[0].summary == "old"
    assert sorted(os.listdir(tmp_path)) == ["bad.zip", "model", "model.zip"]


def test_zips_of_the_same_model_are_the_same_file(bundles, tmp_path):
    copy_bundle(bundles / "new", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (bundles / "new.zip").read_bytes()


def test_folders_have_names_that_every_system_takes(bundles, tmp_path):
    library = ModelLibrary(tmp_path / "library", ())
    names = ("CON", "nul.x", "com1", "console", "日" * 100, "𝒳" * 100, "a" * 300, "..", "x. . ")
    for number, name in enumerate(names):
        path = library.add(_renamed(bundles / "new", tmp_path / f"{number}.zip", name)).path
        assert not RESERVED.match(path.name)
        assert len(os.fsencode(path.name)) < 140
        assert not path.name.endswith((".", " "))
    assert {entry.name for entry in library.entries()} == set(names)


def test_the_command_says_what_it_replaced(bundles, tmp_path, monkeypatch, capsys):
    from SparseSegLib.cli import main

    monkeypatch.setenv("SPARSESEG_MODELS", str(tmp_path / "library"))
    command = ["models", "import", str(bundles / "new"), "--overwrite"]
    for replaced in (False, True):
        assert main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["replaced"] is replaced
    assert main(command) == 0
    assert "it replaced one of that name" in capsys.readouterr().out
