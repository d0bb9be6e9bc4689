"""The ways to train a network on a cohort, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from SparseSegLib.cohort.learner import CohortLearner
from SparseSegLib.cohort.milletari import LogisticMilletariLearner, MilletariLearner
from SparseSegLib.cohort.myronenko import MyronenkoLearner
from SparseSegLib.networks.segresnet_vae import polynomial_rate
from SparseSegLib.training.schedule import Schedule, cosine_rate, falling_rate

Triple = tuple[float, float, float]
Size = tuple[int, int, int]

FULL_STEPS = 1000


@dataclass(frozen=True)
class Recipe:
    """Defaults of a training.

    Attributes
    ----------
    learner : class that trains the network: its optimizer, its loss, and its augmentation
    network : entry of the network registry
    learning_rate, other_rate : at its highest, with the recipe's own network and with another one
    full_steps : a training with the own network that has fewer steps takes a lower rate, see ``in_proportion``; 0 for
        the same rate always
    schedule : of the learning rate
    spacing : (z, y, x) mm of the grid to work on; None for the median over the cases
    patch : (z, y, x) voxels of the network's input; None for a size that suits the volumes
    batch : patches per step
    seconds, steps : the budget; steps win
    bias_field : "n4" to correct the bias field of every volume first, "none" not to
    normalization : of the gray values, see :class:`~SparseSegLib.models.Preprocessing`
    mirror : learn from mirrored images too
    """

    learner: type[CohortLearner]
    network: str
    learning_rate: float
    schedule: Schedule
    spacing: Triple | None = None
    patch: Size | None = None
    batch: int = 1
    seconds: float | None = None
    steps: int | None = None
    bias_field: str = "none"
    normalization: str = "percentiles"
    mirror: bool = False
    other_rate: float | None = None
    full_steps: int = 0

    def with_network(self, network: str) -> Recipe:
        """The recipe for another network."""
        if network == self.network or self.other_rate is None:
            return replace(self, network=network)
        return replace(self, network=network, learning_rate=self.other_rate, full_steps=0)

    def going_on(self) -> Recipe:
        """The recipe for weights that are trained already: with ``other_rate``, so as not to lose them."""
        if self.other_rate is None:
            return self
        return replace(self, learning_rate=self.other_rate, full_steps=0)


MILLETARI = Recipe(
    MilletariLearner,
    "vnet",
    1e-4,
    falling_rate,
    spacing=(1.5, 1.0, 1.0),
    patch=(64, 128, 128),
    batch=2,
    steps=30_000,
    bias_field="n4",
)

RECIPES = {
    "usual": Recipe(
        CohortLearner, "unet3d-half", 1e-2, cosine_rate, seconds=600.0, other_rate=3e-3, full_steps=FULL_STEPS
    ),
    "milletari2016": MILLETARI,
    "milletari2016-logistic": replace(MILLETARI, learner=LogisticMilletariLearner),
    "myronenko2018": Recipe(
        MyronenkoLearner,
        "segresnet_vae",
        1e-4,
        polynomial_rate,
        spacing=(1.0, 1.0, 1.0),
        patch=(128, 192, 160),
        steps=85_500,
        normalization="nonzero",
        mirror=True,
    ),
}
"""The recipes by name.

``milletari2016`` is that of the V-Net paper (sections 3 and 4), with the loss that the paper compares with as
``milletari2016-logistic``, ``myronenko2018`` that of the paper that won the brain tumor challenge (section 3; 300
passes over its 285 cases). Both need a GPU.
"""
