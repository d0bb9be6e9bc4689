"""The voxels of DICOM frames: decoded, and scaled by each frame's own slope and intercept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import FileError, SparseSegError
from SparseSegLib.files import TemporaryFolder
from SparseSegLib.io.dicom.codestreams import codestream_size
from SparseSegLib.io.dicom.frames import Frame
from SparseSegLib.io.dicom.kinds import uid_name
from SparseSegLib.io.dicom.reading import PIXELS, check_size, cut_off, is_compressed, read_dataset, reading_dicom, shown
from SparseSegLib.io.dicom.values import transfer_syntax, whole
from SparseSegLib.io.itk import reading

_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # an image that has neither geometry nor scaling
_LAYOUT = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation"),
)


def read_frames(frames: Sequence[Frame], dtype: Any = None) -> np.ndarray:
    """Return frames, in their order, as (1, Z, Y, X).

    Parameters
    ----------
    frames : sequence of Frame
        All of one size.
    dtype : type
        Of the result; without it whole numbers if all values are, else float32.

    Raises
    ------
    FileError
        If a file is damaged or cut off, or compressed in a way that cannot be decoded.
    """
    kind = np.dtype(dtype or _type(frames))
    result = np.empty((1, len(frames), *frames[0].size), kind)
    decoded: dict[str, dict[int, int]] = {}
    for place, frame in enumerate(frames):
        if frame.offset is None:
            decoded.setdefault(frame.file, {})[frame.index] = place
        else:
            result[0, place] = _scaled(_plain(frame, frame.offset), frame)
    for file, places in decoded.items():
        found = 0
        with reading_dicom(file):
            dataset = read_dataset(file, (*_LAYOUT, "NumberOfFrames", *PIXELS))
            for index, stored in enumerate(stored_frames(dataset, file)):
                if index in places:
                    frame = frames[places[index]]
                    result[0, places[index]] = _scaled(_value_bits(stored, frame), frame)
                    found += 1
        if found != len(places):
            raise cut_off(file)
    return result


def _plain(frame: Frame, offset: int) -> np.ndarray:
    """Return the values (Y, X) of a frame that lie in its file as they are."""
    kind = np.dtype(frame.stored).newbyteorder("<")
    with reading_dicom(frame.file):
        stored = np.fromfile(frame.file, kind, frame.size[0] * frame.size[1], offset=offset)
    if stored.size != frame.size[0] * frame.size[1]:
        raise cut_off(frame.file)
    return _value_bits(stored.reshape(frame.size), frame)


def _value_bits(stored: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the bits that are the value: others may hold graphics."""
    allocated = 8 * stored.itemsize
    count, high = frame.bits
    if stored.dtype.kind not in "iu" or count >= allocated:
        return stored
    return (stored << (allocated - 1 - high)) >> (allocated - count)  # of signed numbers, the sign fills up


def _type(frames: Sequence[Frame]) -> str:
    stored = {frame.stored for frame in frames}
    if len(stored) == 1 and all((frame.slope, frame.intercept) == (1.0, 0.0) for frame in frames):
        return stored.pop()
    exact = all(float(frame.slope).is_integer() and float(frame.intercept).is_integer() for frame in frames)
    return "int32" if exact and not any("float" in one for one in stored) else "float32"


def _scaled(stored: np.ndarray, frame: Frame) -> np.ndarray:
    if (frame.slope, frame.intercept) == (1.0, 0.0):
        return stored
    return stored.astype(np.float64) * frame.slope + frame.intercept


def stored_frames(dataset: Any, file: str) -> Iterator[np.ndarray]:
    """Give the frames (Y, X) of a data set one after the other, as they are stored; raises as `read_frames`."""
    from pydicom.pixels import iter_pixels

    check_size(file, dataset)
    if not any(name in dataset for name in PIXELS):
        raise cut_off(file)
    if is_compressed(transfer_syntax(dataset)):
        frames = _decoded(dataset, file)
    elif whole(dataset, "BitsAllocated", 8) == 1:
        frames = _unpacked(dataset)
    else:
        frames = iter_pixels(dataset, raw=True)
    yield from frames


def _unpacked(dataset: Any) -> Iterator[np.ndarray]:
    """Give frames of single bits, which follow each other without a gap, so that they start amid bytes."""
    shape = (whole(dataset, "Rows", 0), whole(dataset, "Columns", 0))
    size = shape[0] * shape[1]
    data = np.frombuffer(dataset.PixelData, np.uint8)
    for start in range(0, size * whole(dataset, "NumberOfFrames", 1), size):
        bits = np.unpackbits(data[start // 8 : (start + size + 7) // 8], bitorder="little")
        yield bits[start % 8 : start % 8 + size].reshape(shape)


def _decoded(dataset: Any, file: str) -> Iterator[np.ndarray]:
    """Give compressed frames, decoded by ITK as plain images, or by pydicom where ITK cannot, or not safely (RLE)."""
    from pydicom.encaps import generate_frames

    count = whole(dataset, "NumberOfFrames", 1)
    size = (whole(dataset, "Rows", 0), whole(dataset, "Columns", 0), 1)
    with TemporaryFolder() as folder:
        path = folder.path / "frame.dcm"
        for index, frame in enumerate(generate_frames(dataset.PixelData, number_of_frames=count)):
            if codestream_size(frame) != size:
                yield _decoded_by_pydicom(dataset, index, file)
                continue
            _write_frame(dataset, frame, path)
            try:
                with reading(file):
                    image = sitk.ReadImage(str(path))
                yield sitk.GetArrayFromImage(image).reshape(image.GetHeight(), image.GetWidth())
            except SparseSegError:
                yield _decoded_by_pydicom(dataset, index, file)


def _decoded_by_pydicom(dataset: Any, index: int, file: str) -> np.ndarray:
    from pydicom.pixels import pixel_array

    try:
        return pixel_array(dataset, index=index, raw=True)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise _undecodable(dataset, file) from error


def _write_frame(dataset: Any, frame: bytes, path: Path) -> None:
    """Write a compressed frame as a file without anything that would change its values."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, generate_uid

    image = Dataset()
    for name in _LAYOUT:
        if name in dataset:
            setattr(image, name, dataset.get(name))
    image.SOPClassUID, image.SOPInstanceUID = UID(_CAPTURE), generate_uid()
    image.PixelData = encapsulate([frame])
    image["PixelData"].is_undefined_length = True
    image["PixelData"].VR = "OB"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    image.save_as(path, enforce_file_format=True)


def _undecodable(dataset: Any, file: str) -> FileError:
    name = uid_name(transfer_syntax(dataset))
    return FileError(
        f"The pixels of {shown(file)} cannot be decoded (compressed as {name}).",
        "Copy the file again; or decompress it first, for example with gdcmconv --raw or dcmdjpeg.",
    )
