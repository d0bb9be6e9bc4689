"""A bundle's files in an untrusted zip. It is never unpacked: its members are read by name.

Standard library only.
"""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path, PurePosixPath

from SparseSegLib.errors import ModelError

MOST_MEMBERS = 1000
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1  # bit of a member's flags
SMALL = 16 << 20  # bytes of a member that may be compressed to any size
MOST_COMPRESSED = 50  # times smaller, of larger ones; trained weights become at most three times smaller
OUTSIDE = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)\.\.(/|$)|\0")
FOREIGN = "Do not use it."
REMADE = "Choose a zip that sparseseg models export wrote."


def find_member(archive: zipfile.ZipFile, path: Path, name: str) -> zipfile.ZipInfo | None:
    """Return the member of that name at the top of a zip, or in its only folder; None if there is none.

    Raises
    ------
    ModelError
        If any member's name leads out of the zip, is there twice, or differs from another one's in case only; if there
        are too many; or if the one wanted is a link, encrypted, or packed as no model is.
    """
    members = archive.infolist()
    _check_names(members, path)
    found = [info for info in members if _place(info).name == name and len(_place(info).parts) <= 2]
    found = [info for info in found if not info.is_dir()]
    if len(found) > 1:
        raise ModelError(f"{path} is no model: it has several files {name}.", REMADE)
    for info in found:
        _check_member(info, path, name)
    return found[0] if found else None


def _check_names(members: list[zipfile.ZipInfo], path: Path) -> None:
    if len(members) > MOST_MEMBERS:
        raise ModelError(f"{path} is no model: it holds more than {MOST_MEMBERS} files.", FOREIGN)
    if any(OUTSIDE.search(info.orig_filename) for info in members):
        raise ModelError(
            f"{path} is no model: it has files whose names lead outside of it, or may on other systems.", FOREIGN
        )
    names = {str(_place(info)).casefold() for info in members}
    if len(names) < len(members):
        raise ModelError(f"{path} is no model: it has several files of one name.", FOREIGN)


def _check_member(info: zipfile.ZipInfo, path: Path, name: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise ModelError(f"{path} is no model: its {name} is no file.", FOREIGN)
    if info.flag_bits & ENCRYPTED or info.compress_type not in COMPRESSIONS:
        raise ModelError(f"{path} cannot be read: its {name} is encrypted, or packed as no model is.", REMADE)
    if info.file_size > max(SMALL, MOST_COMPRESSED * info.compress_size):
        raise ModelError(f"{path} is no model: its {name} unpacks to {info.file_size / 1e6:.0f} MB.", FOREIGN)


def _place(info: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(info.filename)
