"""The experts: each predicts the classes of voxels in its own way, and the ensemble weights them."""

from SparseSegLib.densify.experts.adapted import AdaptedRecipe
from SparseSegLib.densify.experts.base import Expert, ExpertRecipe, Request, TrainableExpert
from SparseSegLib.densify.experts.bundle import BundleRecipe
from SparseSegLib.densify.experts.extra_trees import ExtraTreesRecipe
from SparseSegLib.densify.experts.generalist import GeneralistRecipe
from SparseSegLib.densify.experts.pretrained import PretrainedRecipe
from SparseSegLib.densify.experts.random_walk import RandomWalkRecipe
from SparseSegLib.densify.experts.slice_unet import SliceUNetRecipe
from SparseSegLib.densify.experts.unet3d import UNet3DRecipe

__all__ = [
    "AdaptedRecipe",
    "BundleRecipe",
    "Expert",
    "ExpertRecipe",
    "ExtraTreesRecipe",
    "GeneralistRecipe",
    "PretrainedRecipe",
    "RandomWalkRecipe",
    "Request",
    "SliceUNetRecipe",
    "TrainableExpert",
    "UNet3DRecipe",
]
