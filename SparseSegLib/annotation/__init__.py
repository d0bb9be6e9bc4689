"""The annotation model: classes, unlabeled voxels, annotated planes, scribbles."""

from SparseSegLib.annotation.build import sparse_labels_from_segments
from SparseSegLib.annotation.files import read_sparse_labels, write_sparse_labels
from SparseSegLib.annotation.find import find_planes, is_dense
from SparseSegLib.annotation.given import as_labelmap, as_sparse_labels
from SparseSegLib.annotation.planes import ObliquePlane, Plane
from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.annotation.sparsify import keep_planes, sparsify, sparsify_every
from SparseSegLib.annotation.values import decoded, encoded, values_in

__all__ = [
    "UNLABELED",
    "ObliquePlane",
    "Plane",
    "SparseLabels",
    "as_labelmap",
    "as_sparse_labels",
    "decoded",
    "encoded",
    "find_planes",
    "is_dense",
    "keep_planes",
    "read_sparse_labels",
    "sparse_labels_from_segments",
    "sparsify",
    "sparsify_every",
    "values_in",
    "write_sparse_labels",
]
