"""What an image file holds, from its header alone, and what of it we take."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import SimpleITK as sitk

from SparseSegLib.atomic import PathLike
from SparseSegLib.errors import VolumeError
from SparseSegLib.io.itk import check_readable, reading, truncated

_BYTES = {sitk.sitkVectorUInt8, sitk.sitkVectorInt8}
_COMPLEX = {sitk.sitkComplexFloat32, sitk.sitkComplexFloat64}
_NIFTI_HEADER = 348


def open_header(path: PathLike) -> sitk.ImageFileReader:
    """Return a reader whose header has been read; raises FileError if there is none."""
    check_readable(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with reading(path):
        reader.ReadImageInformation()
    return reader


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
    """Raise FileError for a NIfTI file that ends too early, which ITK reads as zeros without a word."""
    if not reader.HasMetaDataKey("bitpix") or not reader.HasMetaDataKey("vox_offset"):
        return
    path = Path(reader.GetFileName())
    if path.name.endswith((".hdr", ".hdr.gz", ".img", ".img.gz")):  # header and voxels in two files
        return
    size = int(reader.GetMetaData("bitpix")) // 8
    for axis in range(1, int(reader.GetMetaData("dim[0]")) + 1):
        size *= max(1, int(reader.GetMetaData(f"dim[{axis}]")))
    check_length(path, size + max(_NIFTI_HEADER, int(float(reader.GetMetaData("vox_offset")))))


def check_length(path: Path, size: int) -> None:
    """Raise FileError if a file, decompressed if it is gzip, is shorter than ``size`` bytes."""
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    if not compressed:
        if path.stat().st_size < size:
            raise truncated(path)
        return
    length = 0
    try:
        with gzip.open(path) as stream:
            while block := stream.read(1 << 20):
                length += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise truncated(path) from error
    if length < size:
        raise truncated(path)
