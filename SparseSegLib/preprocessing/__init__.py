"""Preprocessing of volumes for a network, and the way back to the volume's own grid."""

from SparseSegLib.preprocessing.bias_field import correct_bias_field
from SparseSegLib.preprocessing.conform import Conformed, centered, conform
from SparseSegLib.preprocessing.orientation import reoriented

__all__ = ["Conformed", "centered", "conform", "correct_bias_field", "reoriented"]
