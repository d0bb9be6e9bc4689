"""Folders that appear whole or not at all, as those of OME-Zarr."""

import pytest

from SparseSegLib.errors import FileError
from SparseSegLib.files.replacing import atomic_folder, copy_whole
from SparseSegLib.files.zarr_folder import is_image, is_zarr


def test_a_folder_takes_the_place_of_another(tmp_path):
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "a") as folder:
            (folder / content).write_text(content)
        assert [path.name for path in (tmp_path / "a").iterdir()] == [content]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failure_leaves_the_folder_that_was_there(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyError), atomic_folder(tmp_path / "a") as folder:
        (folder / "half").write_text("half")
        raise KeyError
    assert [*tmp_path.rglob("*")] == [tmp_path / "a"]
    with pytest.raises(FileError, match="Cannot write"), atomic_folder(tmp_path / "none" / "a"):
        pass


def test_files_and_folders_are_copied_over_others(tmp_path):
    (tmp_path / "file").write_text("file")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_text("deep")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "gone").write_text("gone")
    copy_whole(tmp_path / "folder", tmp_path / "old")
    copy_whole(tmp_path / "file", tmp_path / "new")
    assert (tmp_path / "old" / "deep" / "file").read_text() == "deep" and (tmp_path / "new").read_text() == "file"
    assert not (tmp_path / "old" / "gone").exists() and len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("name", "zarr"), [(".zgroup", True), (".zarray", True), ("zarr.json", True), ("a.dcm", False)]
)
def test_a_folder_of_zarr_is_one_image(tmp_path, name, zarr):
    (tmp_path / name).write_text("{}")
    assert is_zarr(tmp_path) == is_image(tmp_path) == zarr
    assert is_image(tmp_path / name) and not is_zarr(tmp_path / name) and not is_image(tmp_path / "none")
