"""Whether a volume can be written to a path, and comes back in its place: to be asked before the work."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import FileError, SparseSegError, UsageError
from SparseSegLib.files import PathLike, check_name_length
from SparseSegLib.image import Geometry, at_right_angles
from SparseSegLib.io.headers import header_geometry, open_header
from SparseSegLib.io.itk import check_name, quiet_itk
from SparseSegLib.io.ome_zarr.reading import import_zarr
from SparseSegLib.io.ome_zarr.store import SUFFIX as ZARR_SUFFIX
from SparseSegLib.io.tiff import SUFFIXES as TIFF_SUFFIXES
from SparseSegLib.io.tiff import tiff_layout
from SparseSegLib.io.tiff_writing import write_tiff

WRITABLE = (".nrrd", ".nii", ".nii.gz", ".mha", *TIFF_SUFFIXES, ZARR_SUFFIX)
_IN_TWO_FILES = {".mhd": ".mha", ".nhdr": ".nrrd", ".hdr": ".nii.gz", ".img": ".nii.gz"}
_TOLERANCE = 1e-2  # voxels: what headers with cosines of five digits come to; grids that differ by less align
_LARGEST_NIFTI = 32767  # voxels along an axis


def is_tiff(path: PathLike) -> bool:
    """Return whether a path has a suffix of TIFF."""
    return Path(path).suffix.lower() in TIFF_SUFFIXES


def check_writable(path: PathLike, geometry: Geometry | None = None) -> Path:
    """Return the path, if a volume can be written there.

    Parameters
    ----------
    path : where a volume or labels are to be written
    geometry : their grid, where it is known

    Raises
    ------
    UsageError
        If the suffix is of no format that can be written.
    FileError
        If the name is too long or no UTF-8, or the format does not keep the grid to 0.01 voxels: TIFF knows no
        position, OME-Zarr no orientation, NIfTI no axes that are not at right angles.
    DependencyError
        If it is OME-Zarr, and zarr is not installed.
    """
    path = Path(path)
    if path.suffix.lower() in _IN_TWO_FILES:
        raise UsageError(
            f"Cannot write {path}: the format has two files, which cannot be replaced at once.",
            f"Choose {_IN_TWO_FILES[path.suffix.lower()]}.",
        )
    ending = _ending(path)
    if not ending:
        raise UsageError(f"Cannot write {path}: unknown format.", f"Known are {', '.join(WRITABLE)}.")
    check_name(path)
    check_name_length(path)
    if ending == ZARR_SUFFIX:
        import_zarr()
    if geometry is not None:
        kept = _kept(geometry, ending)
        if kept is not None:
            check_kept(path, geometry, kept)
    return path


def _ending(path: Path) -> str:
    """Return which of the endings that can be written a path has, the longest one, or an empty string."""
    return max((ending for ending in WRITABLE if path.name.lower().endswith(ending)), key=len, default="")


def check_kept(path: Path, geometry: Geometry, kept: Geometry) -> None:
    """Raise FileError if a format keeps another grid than the one that was to be written."""
    if _is_nifti(path) and max(geometry.shape) > _LARGEST_NIFTI:
        raise FileError(
            f"Cannot write {path}: NIfTI has at most {_LARGEST_NIFTI} voxels along an axis.",
            "Choose .nrrd or .mha, which can have more.",
        )
    if geometry.matches(kept, _TOLERANCE):
        return
    if is_tiff(path):
        raise FileError(
            f"Cannot write {path}: TIFF has no place for the position and orientation of this volume.",
            "Choose .nrrd, which keeps them.",
        )
    if path.suffix.lower() == ZARR_SUFFIX:
        raise FileError(
            f"Cannot write {path}: OME-Zarr has no place for the orientation of this volume.",
            "Choose .nrrd, which keeps it.",
        )
    axes = np.asarray(geometry.direction).reshape(3, 3)
    reason = geometry.difference(kept) if at_right_angles(axes) else "its axes are not at right angles"
    raise FileError(
        f"Cannot write {path}: the format does not keep where the voxels of this volume lie ({reason}).",
        "Choose .nrrd or .mha, which keep it.",
    )


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


@lru_cache(maxsize=64)
def _kept(geometry: Geometry, ending: str) -> Geometry | None:
    """Return the grid that comes back from a file of a format: that of a few voxels, written and read.

    None if they could not be written: then it shows, once the volume is.
    """
    if ending == ZARR_SUFFIX:
        return Geometry(geometry.shape, geometry.spacing, geometry.origin)
    few = replace(geometry, shape=(2, 2, 2))
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"grid{ending}"
            if is_tiff(path):
                write_tiff(path, np.zeros((1, 2, 2, 2), np.uint8), Geometry.identity(few.shape, few.spacing))
                return Geometry.identity(geometry.shape, tiff_layout(path)[1])
            with quiet_itk():
                sitk.WriteImage(few.to_sitk(np.zeros(few.shape, np.uint8)), str(path))
            return replace(header_geometry(open_header(path)), shape=geometry.shape)
    except (OSError, RuntimeError, SparseSegError):
        return None
