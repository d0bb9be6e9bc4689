"""Folders that are one image: those of Zarr. Standard library only."""

from __future__ import annotations

import os

from SparseSegLib.files.atomic import PathLike

GROUP, ARRAY, VERSION_3 = ".zgroup", ".zarray", "zarr.json"
"""The files that describe a group and an array of version 2, and both of version 3."""


def is_zarr(path: PathLike) -> bool:
    """Return whether a path is a folder with a group or an array of Zarr."""
    return any(os.path.isfile(os.path.join(path, name)) for name in (VERSION_3, GROUP, ARRAY))


def is_image(path: PathLike) -> bool:
    """Return whether a path is that of one image: a file, or a folder of Zarr; not a folder of files."""
    return os.path.isfile(path) or is_zarr(path)
