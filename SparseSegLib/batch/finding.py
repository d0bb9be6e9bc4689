"""The cases in a folder: its volumes, and the folders of DICOM slices in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from SparseSegLib.files.zarr_folder import is_image
from SparseSegLib.io.folders import VOLUME_ENDINGS

PARTS = (".seg.nrrd", ".raw", ".raw.gz", ".zraw")  # results, and the voxels of .nhdr and .mhd


def cases_of(given: str, on_message: Callable[[str], None] = lambda text: None) -> list[dict[str, Any]]:
    """The cases of one argument: an image, channels joined by commas, a DICOM folder, or a folder of volumes and such.

    Parameters
    ----------
    given : as the user wrote it
    on_message : called with a text on what of a folder is left out
    """
    path = Path(given)
    if path.is_dir() and not is_image(path):
        return [{"volumes": [str(entry.absolute())]} for entry in _inside(path, on_message)]
    if not path.exists() and "," in given:
        return [{"volumes": [str(Path(part).absolute()) for part in given.split(",")]}]
    return [{"volumes": [str(path.absolute())]}]


def _inside(folder: Path, on_message: Callable[[str], None]) -> Sequence[Path]:
    """The volumes and DICOM folders in a folder, or the folder itself where the slices lie in it."""
    content = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    volumes = [entry for entry in content if _is_volume(entry)]
    series = [entry for entry in content if _has_slices(entry)]
    if not volumes and _has_slices(folder):
        _report_left_out(folder, series, on_message)
        return [folder]
    if volumes or series:
        chosen = {*volumes, *series}
        others = [entry for entry in content if entry not in chosen and not entry.name.lower().endswith(PARTS)]
        _report_left_out(folder, others, on_message)
        return sorted(chosen)
    return content if content and all(entry.is_dir() for entry in content) else [folder]


def _report_left_out(folder: Path, left_out: Sequence[Path], on_message: Callable[[str], None]) -> None:
    if left_out:
        names = ", ".join(entry.name for entry in left_out[:5]) + (" and others" if left_out[5:] else "")
        on_message(f"Left out of {folder}: {names}.")


def _is_volume(file: Path) -> bool:
    name = file.name.lower()
    return is_image(file) and name.endswith(VOLUME_ENDINGS) and not name.endswith(".seg.nrrd")


def _has_slices(folder: Path) -> bool:
    """Whether a DICOM file lies in a folder; the index of a disk (DICOMDIR) is none."""
    try:
        return folder.is_dir() and any(_is_slice(entry) for entry in folder.iterdir())
    except OSError:
        return False


def _is_slice(file: Path) -> bool:
    """Whether a file is DICOM by its mark or, as old ones have none, by its name."""
    if not file.is_file() or file.name.startswith(".") or file.name.upper() == "DICOMDIR":
        return False
    if file.suffix.lower() in (".dcm", ".ima"):
        return True
    with open(file, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"
