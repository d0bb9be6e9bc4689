"""Generated training volumes: real anatomy painted anew, and phantoms, on the device that trains."""

from Experiments.synthesis.anatomy import Anatomy
from Experiments.synthesis.appearance import degrade, vary
from Experiments.synthesis.generator import SampleGenerator, SynthesisSettings
from Experiments.synthesis.learner import SynthesisLearner
from Experiments.synthesis.painting import paint
from Experiments.synthesis.phantoms import pelvis_phantom, shapes_phantom
from Experiments.synthesis.places import random_views
from Experiments.synthesis.tissues import tissue_map

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
