"""From a network's tensors to those of a whole volume: sliding windows, mirror images."""

from SparseSegLib.inference.mirrored import Mirrored
from SparseSegLib.inference.patch_prediction import count_tiles, output_size, predict_patches
from SparseSegLib.inference.tiling import Size3, predict_valid, predict_windows

__all__ = [
    "Mirrored",
    "Size3",
    "count_tiles",
    "output_size",
    "predict_patches",
    "predict_valid",
    "predict_windows",
]
