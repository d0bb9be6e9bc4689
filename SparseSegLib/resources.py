"""Where the files that come with the project lie: in the package when installed, in Resources/ in a checkout."""

from __future__ import annotations

from pathlib import Path

from SparseSegLib.errors import FileError

PACKAGE = Path(__file__).resolve().parent


def sample_data(name: str) -> Path:
    """The path of a sample data file, for example ``mni152_t1.nrrd``; FileError if the installation lacks it."""
    for folder in (PACKAGE / "SampleData", PACKAGE.parent / "Resources" / "SampleData"):
        if (folder / name).exists():
            return folder / name
    raise FileError(f"The sample data file {name} is missing from this installation.", "Install SparseSeg again.")
