"""Files and disks, whatever the files hold: writing whole or not at all, names, room on a disk. No torch, no numpy."""

from SparseSegLib.files.atomic import (
    PathLike,
    atomic_path,
    check_name_length,
    no_space,
    replace_file,
    write_error,
    write_json,
    write_text,
)
from SparseSegLib.files.disk_space import check_disk_space
from SparseSegLib.files.json_files import read_json
from SparseSegLib.files.leftovers import remove_leftovers, remove_previews
from SparseSegLib.files.names import path_inside, safe_file_name
from SparseSegLib.files.reading_note import keep_note_in, noted_in, noting
from SparseSegLib.files.temporary import TemporaryFolder, remove_abandoned
from SparseSegLib.files.torch_files import load_torch_file

__all__ = [
    "PathLike",
    "TemporaryFolder",
    "atomic_path",
    "check_disk_space",
    "check_name_length",
    "keep_note_in",
    "load_torch_file",
    "no_space",
    "noted_in",
    "noting",
    "path_inside",
    "read_json",
    "remove_abandoned",
    "remove_leftovers",
    "remove_previews",
    "replace_file",
    "safe_file_name",
    "write_error",
    "write_json",
    "write_text",
]
