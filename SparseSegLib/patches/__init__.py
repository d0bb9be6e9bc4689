"""Training 3D networks on patches of sparsely labeled volumes: where they are cut, how, and the steps."""

from SparseSegLib.patches.recipe import SMALL_PATCHES, PatchRecipe
from SparseSegLib.patches.sampling import PatchSampler, within
from SparseSegLib.patches.trainer import LabeledImage, PatchTrainer, seen

__all__ = ["SMALL_PATCHES", "LabeledImage", "PatchRecipe", "PatchSampler", "PatchTrainer", "seen", "within"]
