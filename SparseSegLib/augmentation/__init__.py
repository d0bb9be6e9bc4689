"""Random changes of batches of 3D images and their labels, on the device that trains."""

from SparseSegLib.augmentation.bspline import bspline_displacements, deform
from SparseSegLib.augmentation.histogram import match_histograms, quantile_tables
from SparseSegLib.augmentation.patches import Augmentation, random_places, vary_gray
from SparseSegLib.augmentation.reading import cut, read

__all__ = [
    "Augmentation",
    "bspline_displacements",
    "cut",
    "deform",
    "match_histograms",
    "quantile_tables",
    "random_places",
    "read",
    "vary_gray",
]
