"""The card of the prostate model: its grid, its network, its expectations, its texts."""

from __future__ import annotations

from Experiments.prostate.learner import Recipe

from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing
from SparseSegLib.models.card import Expectations

TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^41216001^Prostate~^^~Anatomic codes - DICOM master list~^^~^^"
)
EXPECTATIONS = Expectations(
    image="an axial T2 MRI of the prostate",
    extent_low=(30.0, 90.0, 90.0),
    extent_high=(160.0, 420.0, 420.0),
    negative=0.2,
    smoothness=0.7,
    volume=(8.0, 250.0),
    confidence=0.8,
    compactness=0.6,
    off_center=60.0,
    expected_dice=0.855,
)


def make_card(recipe: Recipe) -> ModelCard:
    """The card of a network that was trained by a recipe, before its data and figures are known."""
    (z, y, x), (depth, height, width) = recipe.spacing, recipe.window
    return ModelCard(
        name="prostate-vnet",
        network=recipe.network,
        arguments=recipe.arguments,
        preprocessing=Preprocessing((z, y, x), ("T2",), field_of_view=(height * y, width * x)),
        window=(depth, height, width),
        modality="MR",
        labels=(ModelLabel(1, "prostate", (0.9, 0.62, 0.55), TERMINOLOGY),),
        summary="The prostate as a whole on T2-weighted MRI, by a V-Net (Milletari et al. 2016) for thick slices.",
        intended_use=(
            "Research: a first outline of the prostate, to be looked at and corrected. Not for clinical use. It looks "
            f"at the middle {height * y:g} × {width * x:g} mm of the slices. Expect mistakes at apex and base, after "
            "treatment, and with very large prostates. Images that look unlike a T2 MRI of the prostate are refused as "
            "far as that is noticed."
        ),
        license=(
            "CC BY 4.0, as far as known the license of PROMISE12, whose organizers published it: name the challenge "
            "(Litjens et al. 2014)."
        ),
        mirrored=True,
        mirrored_axes="x",
        postprocessing=("largest_component",),
        expectations=EXPECTATIONS,
    )
