"""Generated training volumes: real anatomy painted anew, and phantoms, on the device that trains."""

from SparseSegLib.synthesis.anatomy import Anatomy
from SparseSegLib.synthesis.appearance import degrade, vary
from SparseSegLib.synthesis.generator import SampleGenerator, SynthesisSettings
from SparseSegLib.synthesis.learner import SynthesisLearner
from SparseSegLib.synthesis.painting import paint
from SparseSegLib.synthesis.phantoms import pelvis_phantom, shapes_phantom
from SparseSegLib.synthesis.places import random_views
from SparseSegLib.synthesis.tissues import tissue_map

__all__ = [
    "Anatomy",
    "SampleGenerator",
    "SynthesisLearner",
    "SynthesisSettings",
    "degrade",
    "paint",
    "pelvis_phantom",
    "random_views",
    "shapes_phantom",
    "tissue_map",
    "vary",
]
