"""Images of every kind: what the information says is what reading then does."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from SparseSegLib.errors import FileError, SparseSegError, VolumeError
from SparseSegLib.image import Geometry, check_volume
from SparseSegLib.io import read_information, read_labels, read_volume

GRID = Geometry((4, 5, 6), (2.5, 0.5, 0.75), (10.0, -20.0, 30.0), (0, 1, 0, -1, 0, 0, 0, 0, 1))
SUFFIXES = (".nrrd", ".nii", ".nii.gz", ".mha")


def image(dtype, size=(6, 5, 4), channels=1):
    made = sitk.Image(list(size), dtype, channels)
    if len(size) == 3:
        GRID.stamp(made)
    elif len(size) > 3:
        made.SetSpacing([0.75, 0.5, 2.5, 3.0, 3.0][: len(size)])
        made.SetOrigin([1.0, 2.0, 3.0, 0.0, 0.0][: len(size)])
    return made


KINDS = {
    "plain": image(sitk.sitkInt16),
    "bytes": image(sitk.sitkInt8),
    "int64": image(sitk.sitkInt64),
    "float64": image(sitk.sitkFloat64),
    "two channels": image(sitk.sitkVectorUInt8, channels=2),
    "five channels": image(sitk.sitkVectorFloat64, channels=5),
    "three of 16 bits": image(sitk.sitkVectorUInt16, channels=3),
    "rgb": image(sitk.sitkVectorUInt8, channels=3),
    "rgba": image(sitk.sitkVectorUInt8, channels=4),
    "complex": image(sitk.sitkComplexFloat32),
    "4d": image(sitk.sitkInt16, (6, 5, 4, 3)),
    "4d of one frame": image(sitk.sitkInt16, (6, 5, 4, 1)),
    "one slice": image(sitk.sitkInt16, (6, 5, 1)),
    "one row": image(sitk.sitkInt16, (6, 1, 4)),
    "2d": image(sitk.sitkInt16, (6, 5)),
    "2d in color": image(sitk.sitkVectorUInt8, (6, 5), 3),
}


def outcome(read, path):
    try:
        return read(path)
    except SparseSegError as error:
        assert str(path) in error.message and error.hint
        return error


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_information_says_what_reading_does(tmp_path, kind, suffix):
    path = tmp_path / f"a{suffix}"
    try:
        sitk.WriteImage(KINDS[kind], str(path))
    except RuntimeError:
        pytest.skip("ITK cannot write it")
    volume, information = outcome(read_volume, path), outcome(read_information, path)
    if isinstance(information, SparseSegError):
        assert type(volume) is type(information) and volume.message == information.message
        return
    if min(information.shape) == 1:
        assert isinstance(volume, VolumeError) and "2D" in volume.message
        return
    assert volume.geometry.shape == information.shape and volume.geometry.spacing == information.spacing
    assert volume.channels == information.channels
    if KINDS[kind].GetDimension() == 3:
        assert volume.geometry.matches(GRID)
    else:
        assert volume.geometry.spacing == pytest.approx((2.5, 0.5, 0.75))


@pytest.mark.parametrize("frames", [1, 2])
def test_five_axes(tmp_path, frames):
    sitk.WriteImage(image(sitk.sitkInt16, (6, 5, 4, 1, frames)), str(tmp_path / "a.nii"))
    volume, information = outcome(read_volume, tmp_path / "a.nii"), outcome(read_information, tmp_path / "a.nii")
    if isinstance(information, SparseSegError):
        assert volume.message == information.message
    else:
        assert volume.geometry.shape == information.shape == (4, 5, 6) and volume.channels == information.channels


def test_one_axis_is_no_volume(tmp_path):
    sitk.WriteImage(image(sitk.sitkInt16), str(tmp_path / "a.nii"))
    data = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<h", data, 40, 1)
    (tmp_path / "a.nii").write_bytes(data)
    for read in (read_volume, read_information, read_labels):
        assert isinstance(outcome(read, tmp_path / "a.nii"), (FileError, VolumeError))


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
def test_numbers_that_nothing_can_be_learned_from_are_told(tmp_path, value):
    array = np.full(GRID.shape, 7.0)
    array[1, 2, 3] = value
    sitk.WriteImage(GRID.to_sitk(array), str(tmp_path / "a.nrrd"))
    volume = read_volume(tmp_path / "a.nrrd")
    with pytest.raises(VolumeError, match="same value" if value == 7 else "1 voxels that are not a number"):
        check_volume(volume)
