"""SparseSeg: dense 3D segmentations learned from a few annotated slices."""

__version__ = "0.1.0"
