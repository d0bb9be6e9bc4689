"""Folders of volumes and labels: which files count, and by what name."""

from __future__ import annotations

from pathlib import Path

from SparseSegLib.errors import FileError
from SparseSegLib.io.images import volume_name
from SparseSegLib.io.ome_zarr import SUFFIX as ZARR_SUFFIX

VOLUME_ENDINGS = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ZARR_SUFFIX)
LABEL_ENDINGS = (*VOLUME_ENDINGS, ".tif", ".tiff", ".dcm")
IMAGE_ENDINGS = (*LABEL_ENDINGS, ".hdr")  # where a format has two files, the one to open


def files_by_name(
    folder: Path, endings: tuple[str, ...], hint: str = "Check the path.", *, folders: bool = False
) -> dict[str, Path]:
    """The files of a folder with one of some endings, by their names without these; hidden ones are passed over.

    Parameters
    ----------
    folder : where to look, not below it
    endings : in lower case
    hint : what to say besides if there is no such folder
    folders : take folders too, as volumes of several files

    Raises
    ------
    FileError
        If there is no such folder, or two files have one name.
    """
    if not folder.is_dir():
        raise FileError(f"There is no folder {folder}.", hint)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not ((folders and path.is_dir()) or path.name.lower().endswith(endings)):
            continue
        name = volume_name(path)
        if name in found:
            raise FileError(f"{found[name].name} and {path.name} in {folder} have one name.", "Take one of them away.")
        found[name] = path
    return found
