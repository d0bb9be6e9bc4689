"""What a header declares about its voxels, checked against the file before anything is allocated."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from SparseSegLib.errors import FileError, ResourceError

Encoding = Literal["raw", "text", "hex", "deflate"]
ByteOrder = Literal["<", ">"]

LARGEST_RATIO = 1040
"""No deflate stream becomes more than 1032 times as long."""
LARGEST_LENGTH = 1e9
"""mm; readers lose larger numbers on the way to the grid, and then go on without them."""
_ZLIB_OR_GZIP = 47
_SLACK = 1 << 10
_BLOCK = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f%\\:*?\"<>|]")


@dataclass(frozen=True)
class DeclaredVoxels:
    """The declared place and size of an image's voxels.

    Parameters
    ----------
    path : the file that contains them
    offset : bytes before them, of the compressed file where only the voxels are compressed
    values : their number, all channels counted
    itemsize : bytes of one of them
    encoding : "raw", "text" or "hex" numbers, or "deflate" (gzip, zlib)
    compressed : bytes of the compressed voxels, where the header gives that
    byte_order : "<" or ">", as numpy has it
    as_stored : whether the raw bytes from ``offset`` on are the voxels, which nothing scales
    """

    path: Path
    offset: int
    values: int
    itemsize: int
    encoding: Encoding = "raw"
    compressed: int | None = None
    byte_order: ByteOrder = "<"
    as_stored: bool = False

    @property
    def size(self) -> int:
        """Bytes of the voxels in memory."""
        return self.values * self.itemsize

    def check(self) -> None:
        """Raise FileError if the file is too short for its voxels, whatever they are."""
        check_regular(self.path)
        if self.path.stat().st_size < self.offset + self._least():
            raise truncated(self.path)

    def _least(self) -> int:
        if self.encoding == "text":
            return 2 * self.values - 1
        if self.encoding == "hex":
            return 2 * self.size
        if self.encoding == "deflate":
            return max(0, self.size - _SLACK) // LARGEST_RATIO
        return self.size


def check_regular(path: Path) -> None:
    """Raise FileError if there is no file at ``path``, or something else than a file: a pipe, a device, a socket."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise FileError(f"There is no file {path}.", "Check the name and the folder.") from error
    if not stat.S_ISREG(mode):
        raise FileError(f"{path} is not a regular file.", "Copy the data into a file, and choose that.")


def data_file(header: Path, name: str) -> Path:
    """Return the file beside a header that it names for its voxels.

    Raises
    ------
    FileError
        If the name leads out of the header's folder, stands for several files, or is no regular file.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith(("/", "-")) or ".." in parts or _CONTROL.search(name) or name.startswith("LIST"):
        raise FileError(
            f"The file {header} names {shown(name)} for its voxels, which is not a single file beside it.",
            "Open it in the program that wrote it, and save it as one file, for example .nrrd.",
        )
    path = header.parent.joinpath(*parts)
    if not path.exists():
        raise FileError(
            f"The file {path}, which holds the voxels of {header}, is missing.", "Copy it beside the other."
        )
    check_regular(path)
    return path


def shown(text: str) -> str:
    """Return a piece of a file for a message: short, in quotes, nothing but printable characters."""
    text = "".join(character if character.isprintable() else "?" for character in text)
    return f'"{text[:40]}{"…" if len(text) > 40 else ""}"'


def damaged_header(path: Path, reason: str) -> FileError:
    """Return the error for a header with something in it that cannot be."""
    return FileError(f"The header of {path} is damaged: {reason}.", "Copy, download or export the file again.")


def truncated(path: os.PathLike[str] | str) -> FileError:
    """Return the error for a file that ends too early."""
    return FileError(
        f"The file {path} is damaged: it ends before its image is complete.", "Copy, download or export it again."
    )


def check_gzip(path: Path, size: int) -> None:
    """Raise FileError if a gzip file is damaged or, decompressed, shorter than ``size`` bytes; no more is read."""
    length = 0
    try:
        with gzip.open(path) as stream:
            while length <= size and (block := stream.read(min(_BLOCK, size - length + 1))):
                length += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise truncated(path) from error
    if length < size:
        raise truncated(path)


def check_zlib(voxels: DeclaredVoxels) -> None:
    """Raise FileError if compressed voxels are damaged or too few; no more is read than is declared."""
    stream, length = zlib.decompressobj(wbits=_ZLIB_OR_GZIP), 0
    left = voxels.path.stat().st_size if voxels.compressed is None else voxels.compressed
    with open(voxels.path, "rb") as file:
        file.seek(voxels.offset)
        try:
            while length <= voxels.size and not stream.eof:
                block = stream.unconsumed_tail
                if not block:
                    block = file.read(min(_BLOCK, left))
                    left -= len(block)
                if not block:
                    break
                length += len(stream.decompress(block, min(_BLOCK, voxels.size - length + 1)))
        except zlib.error as error:
            raise truncated(voxels.path) from error
    if length < voxels.size:
        raise truncated(voxels.path)


def check_memory(path: Path, size: int) -> None:
    """Raise ResourceError if so many bytes are more than the machine's memory."""
    if size > physical_memory():
        raise no_memory(path, size)


def physical_memory() -> int:
    """Return the bytes of memory of this machine, or a very large number where it is unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return 1 << 62


def no_memory(path: os.PathLike[str] | str, size: int = 0) -> ResourceError:
    """Return the error for a volume that does not fit into memory; ``size`` is what it needs, in bytes, if known."""
    needs = f": it needs {size / 2**30:.3g} GiB" if size else ""
    return ResourceError(
        f"The volume {path} does not fit into memory{needs}.",
        "Close other programs, or crop or downsample the volume first.",
    )
