"""From a network's tensors to those of a whole volume or image: tiles, sliding windows, mirror images, rotations."""

from SparseSegLib.inference.mirrored import Mirrored
from SparseSegLib.inference.patch_prediction import count_tiles, output_size, predict_patches
from SparseSegLib.inference.rotations import predict_rotated
from SparseSegLib.inference.tiling import Size3, predict_valid, predict_windows
from SparseSegLib.inference.tiling2d import predict_image

__all__ = [
    "Mirrored",
    "Size3",
    "count_tiles",
    "output_size",
    "predict_image",
    "predict_patches",
    "predict_rotated",
    "predict_valid",
    "predict_windows",
]
