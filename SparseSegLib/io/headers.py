"""Headers of image files, and checks of what can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.image import Geometry
from SparseSegLib.io.declared import LARGEST_RATIO, DeclaredVoxels, check_gzip, check_memory, check_zlib, truncated
from SparseSegLib.io.detect import DICOM, META, NIFTI, NRRD, ImageFormat, image_format
from SparseSegLib.io.itk import check_readable, reading
from SparseSegLib.io.meta_header import read_meta_header
from SparseSegLib.io.nifti_header import is_gzip, read_nifti_header
from SparseSegLib.io.nrrd_header import read_nrrd_header

_BYTES = {sitk.sitkVectorUInt8, sitk.sitkVectorInt8}
_COMPLEX = {sitk.sitkComplexFloat32, sitk.sitkComplexFloat64}


def open_header(path: PathLike) -> sitk.ImageFileReader:
    """Return a reader whose header has been read.

    Raises
    ------
    FileError
        If there is no such file, or something in its header cannot be, or it is too short for what it declares.
    """
    path = check_readable(path)
    reader = sitk.ImageFileReader()
    with reading(path):
        known = image_format(path)
        voxels = declared_voxels(path, known)
        if voxels is not None:
            voxels.check()
        reader.SetImageIO(known.image_io)
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    if voxels is None and known is not DICOM:
        _check_picture(reader, path)
    return reader


def declared_voxels(path: Path, known: ImageFormat) -> DeclaredVoxels | None:
    """Return what the header declares about its voxels, or None for formats whose headers are no text."""
    if known is NRRD:
        return read_nrrd_header(path).voxels
    if known is META:
        return read_meta_header(path).voxels
    if known is NIFTI:
        return read_nifti_header(path).voxels
    return None


def _check_picture(reader: sitk.ImageFileReader, path: Path) -> None:
    """Raise FileError for a picture that declares more pixels than its file can hold."""
    pixels = reader.GetNumberOfComponents()
    for size in reader.GetSize():
        pixels *= size
    if pixels > LARGEST_RATIO * path.stat().st_size:
        raise truncated(path)


def header_geometry(reader: sitk.ImageFileReader) -> Geometry:
    """Return the grid that a header declares; a 2D image has one slice.

    Raises
    ------
    FileError
        If it cannot be: a spacing that is not positive, axes that are not independent.
    """
    dimension = reader.GetDimension()
    axes = np.eye(max(3, dimension))
    axes[:dimension, :dimension] = np.reshape(reader.GetDirection(), (dimension, dimension))
    x, y, z = (*reader.GetSize(), 1)[:3]
    dx, dy, dz = (*reader.GetSpacing(), 1.0)[:3]
    with reading(reader.GetFileName()):
        return Geometry((z, y, x), (dz, dy, dx), (*reader.GetOrigin(), 0.0)[:3], tuple(axes[:3, :3].ravel()))


def check_kind(reader: sitk.ImageFileReader) -> None:
    """Raise VolumeError for an image that is no volume of gray values: a time series, RGB or complex."""
    path = reader.GetFileName()
    if _is_sequence(reader) or any(size > 1 for size in reader.GetSize()[3:]):
        raise time_series(path)
    if reader.GetPixelID() in _BYTES and reader.GetNumberOfComponents() in (3, 4):
        raise color_image(path)
    if reader.GetPixelID() in _COMPLEX:
        raise VolumeError(f"The image {path} has complex numbers.", "Save its magnitude as a volume and use that.")


def _is_sequence(reader: sitk.ImageFileReader) -> bool:
    """Return whether the components are the frames of a 3D Slicer sequence, not channels."""
    return Path(reader.GetFileName()).name.endswith(".seq.nrrd") or any(
        reader.HasMetaDataKey(key) for key in ("axis 0 index type", "axis 3 index type")
    )


def time_series(path: PathLike) -> VolumeError:
    """Return the error for a 4D image."""
    return VolumeError(
        f"The image {path} is a time series (4D).",
        "Extract one frame (in 3D Slicer: Sequences), or give channels as separate files.",
    )


def color_image(path: PathLike) -> VolumeError:
    """Return the error for an RGB or RGBA image."""
    return VolumeError(
        f"The image {path} is a color (RGB) image.",
        "Convert it to gray values, or save each color as a volume of its own and give them as channels.",
    )


def check_complete(reader: sitk.ImageFileReader) -> None:
    """Check what takes longer than a header: to be called before the voxels are read.

    Raises
    ------
    FileError
        If a compressed NIfTI or MHA file is damaged or ends too early, which ITK reads as zeros without a word.
    ResourceError
        If the voxels are more than the machine's memory.
    """
    path = Path(reader.GetFileName())
    with reading(path):
        known = image_format(path)
        voxels = declared_voxels(path, known)
        if voxels is None:
            return
        check_memory(path, voxels.size)
        if known is NIFTI and voxels.encoding == "deflate":
            check_gzip(voxels.path, voxels.size)
        if known is META and voxels.encoding == "deflate":
            check_zlib(voxels)


def check_length(path: Path, size: int) -> None:
    """Raise FileError if a file, decompressed if it is gzip, is shorter than ``size`` bytes."""
    if is_gzip(path):
        check_gzip(path, size)
    elif path.stat().st_size < size:
        raise truncated(path)
