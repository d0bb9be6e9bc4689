"""Models in formats of other programs: ONNX, and bundles of MONAI. Nothing here imports torch at once."""

from SparseSegLib.exchange.importing import import_model
from SparseSegLib.exchange.monai_files import read_monai, write_monai
from SparseSegLib.exchange.onnx_files import read_onnx, write_onnx

__all__ = ["import_model", "read_monai", "read_onnx", "write_monai", "write_onnx"]
