"""Bundles that cost more than they are: refused by their declared sizes and kinds before anything is unpacked."""

import hashlib
import json
import os
import stat
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from cohort_helpers import CARD, SMALL

from SparseSegLib.errors import DependencyError, FileError, ModelError, SparseSegError
from SparseSegLib.files import load_torch_file
from SparseSegLib.models import ModelLibrary, copy_bundle, load_card, load_network, save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.torch_version import NEEDED, is_too_old

WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The two files of a small bundle."""
    path = tmp_path_factory.mktemp("bundle") / "good"
    card = CARD.__class__(**{**vars(CARD), "arguments": SMALL})
    save_bundle(path, card, create_network(CARD.network, 1, 2, **SMALL).state_dict())
    return {name: (path / name).read_bytes() for name in ("model.json", WEIGHTS)}


def _zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _refused(path, words, target):
    for use in (load_network, lambda one: copy_bundle(one, target / "copy")):
        with pytest.raises(ModelError, match=words) as caught:
            use(path)
        assert caught.value.hint
    assert not (target / "copy").exists()


def test_a_zip_that_unpacks_to_gigabytes_takes_neither_memory_nor_time(good, tmp_path):
    """The card is right, and so is the hash."""
    zeros = bytes(64 << 20)
    card = json.loads(good["model.json"])
    card["weights"]["sha256"] = hashlib.sha256(zeros).hexdigest()
    path = _zip(tmp_path / "bomb.zip", {"model.json": json.dumps(card), WEIGHTS: zeros})
    assert path.stat().st_size < 1 << 20
    del zeros
    tracemalloc.start()
    _refused(path, "too large|unpacks to 67 MB", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_weights_larger_than_the_network_are_not_read(good, tmp_path):
    """A file with a hole takes no room on the disk."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "model.json").write_bytes(good["model.json"])
    with open(tmp_path / "b" / WEIGHTS, "wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match="too large"):
        load_network(tmp_path / "b")


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "C:/x", "c:x", "a\\x", "a/../../x", "..", "MODEL.JSON", "Weights.SafeTensors", "./model.json"],
)
def test_names_that_lead_elsewhere_or_mean_two_things_are_refused(good, tmp_path, name):
    _refused(_zip(tmp_path / "b.zip", {**good, name: b""}), "outside|of one name", tmp_path)


def test_links_locks_odd_packing_and_crowds_in_a_zip_are_refused(good, tmp_path):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo(WEIGHTS)
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/dev/zero")
        archive.writestr("model.json", good["model.json"])
    _refused(path, "is no file", tmp_path)
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        _refused(_zip(path, good, compression), "packed as no model is", tmp_path)
    _refused(_zip(path, {**good, **{f"{number}.txt": b"" for number in range(1100)}}), "more than 1000", tmp_path)
    content = bytearray(_zip(path, good, zipfile.ZIP_STORED).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of an encrypted member
    path.write_bytes(content)
    _refused(path, "encrypted", tmp_path)


def test_zips_whose_sizes_lie_are_refused(good, tmp_path):
    path = _zip(tmp_path / "b.zip", good, zipfile.ZIP_STORED)
    whole = path.read_bytes()
    entry = whole.index(WEIGHTS.encode(), whole.index(b"PK\x01\x02")) - 46
    for size in (0, 100, len(good[WEIGHTS]) - 1, len(good[WEIGHTS]) + 1, 2**32 - 2):
        content = bytearray(whole)
        content[entry + 24 : entry + 28] = size.to_bytes(4, "little")
        path.write_bytes(content)
        _refused(path, "damaged|too large|unpacks|SHA-256", tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.parametrize("name", ["model.json", WEIGHTS])
def test_pipes_and_devices_are_not_read(good, tmp_path, name):
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir):
        folder = tmp_path / make.__name__
        folder.mkdir()
        for file, content in good.items():
            (folder / file).write_bytes(content)
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(ModelError, match="no ordinary file"):
            load_network(folder)


def test_damaged_and_unreadable_things_in_a_library_do_not_hide_the_others(good, tmp_path):
    library = ModelLibrary(tmp_path / "library", ())
    library.add(_zip(tmp_path / "b.zip", good))
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED):
        path = _zip(library.folder / f"{compression}.zip", good, compression)
        content = bytearray(path.read_bytes())
        for place in range(30, len(content) // 2, 7):
            content[place] ^= 0x55
        path.write_bytes(content)
    (library.folder / "empty.zip").write_bytes(b"")
    (library.folder / "deep").mkdir()
    (library.folder / "deep" / "model.json").write_bytes(b"[" * 500_000)
    (library.folder / "folder.zip").mkdir()
    if sys.platform != "win32":
        (library.folder / "loop").symlink_to("loop")
        (library.folder / "gone").symlink_to("nowhere")
    entries = {entry.name: entry for entry in library.entries()}
    assert entries[CARD.name].card is not None
    assert sorted(entry.path.name for entry in entries.values() if entry.problem) == [
        "14.zip",
        "8.zip",
        "deep",
        "empty.zip",
    ]
    assert library.find(CARD.name).card is not None
    for name in ("deep", "empty.zip", "a\0b", "x" * 5000):
        with pytest.raises(SparseSegError):
            library.find(name)


def test_old_torch_is_refused_before_a_file_is_opened(good, tmp_path, monkeypatch):
    path = _zip(tmp_path / "b.zip", good)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    for use in (lambda: load_network(path), lambda: load_torch_file(path.open("rb"), "it")):
        with pytest.raises(DependencyError, match=r"2\.9\.1\+cu128 is installed, and SparseSeg needs 2\.10"):
            use()
    assert load_card(path).name == CARD.name
    versions = ("2.5.0", "2.9.1", "1.13.1+cpu", "2.10.0", "2.10.0a0+git1", "2.13.0+cpu", "3.0", "strange")
    assert [is_too_old(version) for version in versions] == [True] * 3 + [False] * 5


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib comes with Python 3.11")
def test_the_version_is_that_of_the_requirements():
    import tomllib

    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"torch>={'.'.join(map(str, NEEDED))}" in settings["project"]["dependencies"]


def test_what_is_not_installed_is_named(good, tmp_path, monkeypatch):
    path = _zip(tmp_path / "b.zip", good)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(DependencyError, match="safetensors"):
        load_network(path)
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(DependencyError, match="filelock"):
        ModelLibrary(tmp_path / "library", ()).add(path)


def test_torch_files_whose_parts_are_packed_or_larger_than_the_file_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"x": torch.zeros(3)}, path)
    with path.open("rb") as stream:
        assert torch.equal(load_torch_file(stream, "it")["x"], torch.zeros(3))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    bomb = {name: content if name.endswith(".pkl") else bytes(10 << 20) for name, content in parts.items()}
    for content in (_zip(tmp_path / "b.pt", bomb).read_bytes(), b"", b"\x80\x02}q\x00.", path.read_bytes()[:200]):
        (tmp_path / "c.pt").write_bytes(content)
        with (tmp_path / "c.pt").open("rb") as stream, pytest.raises(FileError, match="damaged"):
            load_torch_file(stream, "it")
