"""Paths of the files that come with the project: in the package when installed, in Resources/ in a checkout."""

from __future__ import annotations

from pathlib import Path

from SparseSegLib.errors import FileError

PACKAGE = Path(__file__).resolve().parent


def resource_folders(name: str) -> tuple[Path, Path]:
    """Paths where a folder of Resources/ may be: in the package when installed, beside it in a checkout."""
    return PACKAGE / "Resources" / name, PACKAGE.parent / "Resources" / name


def sample_data(name: str) -> Path:
    """The path of a sample data file, for example ``mni152_t1.nrrd``; FileError if the installation lacks it."""
    for folder in resource_folders("SampleData"):
        if (folder / name).exists():
            return folder / name
    raise FileError(f"The sample data file {name} is missing from this installation.", "Install SparseSeg again.")
