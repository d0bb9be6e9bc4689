"""Densify: a volume and a few annotated slices in, a dense segmentation out."""

from SparseSegLib.densify.densifier import Densifier
from SparseSegLib.densify.result import DensifyResult
from SparseSegLib.densify.run import densify
from SparseSegLib.densify.settings import PRESETS, DensifySettings

__all__ = ["PRESETS", "Densifier", "DensifyResult", "DensifySettings", "densify"]
