"""Volumes: voxels, where they lie in space, and moving them from one grid to another.

``image.intensity`` and ``image.coarse`` work on tensors: nothing here imports torch, they do.
"""

from SparseSegLib.image.geometry import (
    Box,
    Geometry,
    Interpolation,
    at_right_angles,
    place,
    resample,
    whole_voxel_offset,
)
from SparseSegLib.image.given import as_given, as_volume
from SparseSegLib.image.places import (
    ORIENTATIONS,
    orientation,
    place_text,
    slice_place,
    slice_position,
    to_ras,
)
from SparseSegLib.image.volume import Volume, check_has_depth, check_volume

__all__ = [
    "ORIENTATIONS",
    "Box",
    "Geometry",
    "Interpolation",
    "Volume",
    "as_given",
    "as_volume",
    "at_right_angles",
    "check_has_depth",
    "check_volume",
    "orientation",
    "place",
    "place_text",
    "resample",
    "slice_place",
    "slice_position",
    "to_ras",
    "whole_voxel_offset",
]
