"""Segmenting volumes with a trained network, on whatever grid they lie."""

from SparseSegLib.prediction.run import segment

__all__ = ["segment"]
