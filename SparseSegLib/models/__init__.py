"""Model bundles: a card and weights on disk, and the library that keeps them. Nothing here imports torch at once."""

from SparseSegLib.models.bundle import copy_bundle, load_card, load_network, save_bundle
from SparseSegLib.models.card import ModelCard, ModelLabel, Preprocessing
from SparseSegLib.models.combine import combine_bundles
from SparseSegLib.models.library import ModelEntry, ModelLibrary
from SparseSegLib.models.writing import check_target

__all__ = [
    "ModelCard",
    "ModelEntry",
    "ModelLabel",
    "ModelLibrary",
    "Preprocessing",
    "check_target",
    "combine_bundles",
    "copy_bundle",
    "load_card",
    "load_network",
    "save_bundle",
]
