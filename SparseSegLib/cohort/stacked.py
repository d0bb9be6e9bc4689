"""Volumes whose channels are the fourth axis of one file, as in the Medical Segmentation Decathlon."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from SparseSegLib.errors import VolumeError
from SparseSegLib.files import PathLike
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.io import volume_name
from SparseSegLib.io.headers import check_complete, open_header
from SparseSegLib.io.itk import reading


def read_stacked(path: PathLike) -> Volume:
    """Read a 4D file as one volume with channels, (C, Z, Y, X) float32.

    Raises
    ------
    FileError
        If the file is missing, foreign or truncated.
    VolumeError
        If it has no fourth axis.
    """
    reader = open_header(path)
    if reader.GetDimension() != 4:
        raise VolumeError(
            f"The image {path} has {reader.GetDimension()} axes, not four.",
            "Check how many channels the description of the data set names.",
        )
    check_complete(reader)
    with reading(path):
        image = reader.Execute()
    array = sitk.GetArrayFromImage(image).astype(np.float32, copy=False)
    return Volume(array, Geometry.from_sitk(image[:, :, :, 0]), volume_name(path))
