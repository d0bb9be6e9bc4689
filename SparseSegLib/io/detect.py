"""The format of an image file, by its content: the name must agree, since readers go by it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from SparseSegLib.errors import FileError
from SparseSegLib.files import PathLike
from SparseSegLib.io.nifti_header import SIZE, is_gzip, is_nifti, start_of

_DICOM_PREAMBLE = 128


@dataclass(frozen=True)
class ImageFormat:
    """A format that is read through ITK: its name, ITK's reader, and the endings that its files have."""

    name: str
    image_io: str
    endings: tuple[str, ...] = ()


NRRD = ImageFormat("NRRD", "NrrdImageIO", (".nrrd", ".nhdr"))
META = ImageFormat("MHA/MHD", "MetaImageIO", (".mha", ".mhd"))
NIFTI = ImageFormat("NIfTI", "NiftiImageIO", (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"))
DICOM = ImageFormat("DICOM", "GDCMImageIO")
PNG = ImageFormat("PNG", "PNGImageIO", (".png",))
JPEG = ImageFormat("JPEG", "JPEGImageIO", (".jpg", ".jpeg"))
BMP = ImageFormat("BMP", "BMPImageIO", (".bmp",))
TIFF = ImageFormat("TIFF", "TIFFImageIO", (".tif", ".tiff"))
_WITH_ENDINGS = (NRRD, META, NIFTI, PNG, JPEG, BMP, TIFF)
_MAGIC = (
    (b"NRRD00", NRRD), (b"\x89PNG", PNG), (b"\xff\xd8\xff", JPEG), (b"BM", BMP),
    (b"II*\x00", TIFF), (b"MM\x00*", TIFF), (b"II+\x00", TIFF), (b"MM\x00+", TIFF),
)  # fmt: skip


def image_format(path: PathLike) -> ImageFormat:
    """Return the format of a file.

    Raises
    ------
    FileError
        If its name ends as those of another format do.
    """
    path = Path(path)
    named = _by_name(path)
    found = _by_content(path, named)
    if found is None:
        return named or DICOM  # DICOM without a preamble begins with anything; GDCM looks closer
    if found.endings and found is not named:
        raise _misnamed(path, found)
    if found is NIFTI and is_gzip(path) and not path.name.lower().endswith(".gz"):
        raise FileError(f"The file {path} is compressed.", f"Rename it to {path.name}.gz.")
    return found


def _by_name(path: Path) -> ImageFormat | None:
    name = path.name.lower()
    return next((known for known in _WITH_ENDINGS if name.endswith(known.endings)), None)


def _by_content(path: Path, named: ImageFormat | None) -> ImageFormat | None:
    with open(path, "rb") as file:
        start = file.read(SIZE)
    if start[_DICOM_PREAMBLE : _DICOM_PREAMBLE + 4] == b"DICM":
        return DICOM
    for magic, known in _MAGIC:
        if start.startswith(magic) and not (known is BMP and named is not BMP):  # two letters say little
            return known
    if is_gzip(path) and (named in (NIFTI, None) or path.name.lower().endswith(".gz")):
        start = start_of(path, SIZE)
    if is_nifti(start):
        return NIFTI
    return META if start.lstrip().startswith((b"ObjectType", b"NDims")) else None


def _misnamed(path: Path, found: ImageFormat) -> FileError:
    endings = " or ".join(found.endings[:2])
    return FileError(f"The file {path} is {found.name} by its content, not by its name.", f"Rename it: {endings}.")
