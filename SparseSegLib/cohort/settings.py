"""Settings of the training of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from SparseSegLib.cohort import label_quality
from SparseSegLib.cohort.recipes import RECIPES, Recipe
from SparseSegLib.errors import UsageError
from SparseSegLib.models.card import BIAS_FIELDS, NORMALIZATIONS
from SparseSegLib.training.precision import check_precision

VOXELS = 48 * 64 * 64  # of a patch, unless it is chosen
ROUND = 8


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training. ``None`` means the recipe's default.

    Attributes
    ----------
    recipe : name out of ``RECIPES``
    network : entry of the network registry
    arguments : what to give the network's class
    regions : learn regions that may be nested, each with a sigmoid of its own, instead of exclusive classes: "nested"
        (each structure's region contains all structures after it), "separate", or the structures of each region by name
        or number, as in ``("edema+core+enhancing", "core+enhancing", "enhancing")``. Predictions are exclusive labels
        as ever. Not for networks that have regions among their ``arguments``.
    spacing : (z, y, x) mm of the grid to work on; the usual recipe takes the median over the cases
    patch : (z, y, x) voxels of the network's input; the usual recipe takes a size that suits the volumes
    batch : patches per step, in each process; they only add up, so that 1 makes the most of a short budget; at least 4,
        unless it is chosen, where labels are noisy
    noisy_labels : weight patches by how good their labels look, and report the weight of each case
    normalization : of the gray values, see :class:`~SparseSegLib.models.Preprocessing`
    budget_seconds, budget_steps : when to be done; seconds count the training, steps win
    seed : the same seed and number of steps give the same weights on a CPU
    device : auto, cpu, cuda, cuda:N or mps
    precision : auto, float32 or bf16, in which the network computes; auto is bf16 on a GPU that has it
    mirror : learn from mirrored images too; not for structures that have a left and a right of their own. None for the
        recipe's
    start : path of a bundle whose weights to begin with, see :func:`SparseSegLib.cohort.adapt.adapted`; "" for none
    validations : how often to evaluate on the validation volumes, if there are any
    checkpoint_seconds : how often to save what was learned
    bias_field : "n4" to correct the bias field of every volume first, here and before a prediction, "none" not to
    """

    recipe: str = "usual"
    network: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    regions: str | Sequence[str] | None = None
    spacing: tuple[float, float, float] | None = None
    patch: tuple[int, int, int] | None = None
    batch: int | None = None
    noisy_labels: bool = False
    normalization: str | None = None
    budget_seconds: float | None = None
    budget_steps: int | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    mirror: bool | None = None
    start: str = ""
    validations: int = 10
    checkpoint_seconds: float = 10.0
    bias_field: str | None = None

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise UsageError(f"There is no recipe called {self.recipe}.", f"Use one of {', '.join(RECIPES)}.")
        for name in ("budget_seconds", "budget_steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be positive, not {value}.", "Leave it out for the usual.")
        if self.spacing is not None:
            object.__setattr__(self, "spacing", tuple(self.spacing))
            if len(self.spacing) != 3 or not all(math.isfinite(step) and step > 0 for step in self.spacing):
                raise UsageError(f"The spacing {self.spacing} is not three positive numbers.", "Give mm.")
        if self.patch is not None:
            object.__setattr__(self, "patch", tuple(self.patch))
            if len(self.patch) != 3 or not all(isinstance(side, int) and 8 <= side <= 512 for side in self.patch):
                raise UsageError(f"The patch {self.patch} is not three sizes from 8 to 512.", "Give voxels.")
        if self.batch is not None and not 1 <= self.batch <= 64:
            raise UsageError(f"There must be 1 to 64 patches per step, not {self.batch}.", "1 is usual.")
        if self.noisy_labels and self.batch is not None and self.batch < label_quality.FEWEST:
            raise UsageError(
                "Noisy labels are noticed by comparing patches, and there is one patch per step.",
                f"Choose a batch of {label_quality.FEWEST} or more; {label_quality.USUAL} is usual.",
            )
        if self.normalization is not None and self.normalization not in NORMALIZATIONS:
            raise UsageError(
                f"There is no normalization called {self.normalization}.", f"Use one of {', '.join(NORMALIZATIONS)}."
            )
        if self.bias_field not in (None, *BIAS_FIELDS):
            raise UsageError(
                f"A bias field cannot be treated by {self.bias_field}.", f"Use one of {', '.join(BIAS_FIELDS)}."
            )
        if not 1 <= self.validations <= 1000:
            raise UsageError(f"Validation must take place 1 to 1000 times, not {self.validations}.", "10 is usual.")
        check_precision(self.precision)

    @property
    def plan(self) -> Recipe:
        """The recipe, with what was chosen instead."""
        chosen = {
            name: getattr(self, name)
            for name in ("spacing", "patch", "batch", "normalization", "mirror", "bias_field")
            if getattr(self, name) is not None
        }
        if self.noisy_labels and self.batch is None:
            chosen["batch"] = max(label_quality.USUAL, RECIPES[self.recipe].batch)
        if self.budget_seconds is not None or self.budget_steps is not None:
            chosen |= {"seconds": self.budget_seconds, "steps": self.budget_steps}
        recipe = RECIPES[self.recipe]
        if self.network is not None:
            recipe = recipe.with_network(self.network)
        return replace(recipe.going_on() if self.start else recipe, **chosen)


def suitable_patch(shape: tuple[int, int, int], voxels: int = VOXELS) -> tuple[int, int, int]:
    """A patch (z, y, x) for volumes of ``shape``: as much of them as fits into ``voxels``, sides multiples of 8."""
    sides = [max(2 * ROUND, -(-size // ROUND) * ROUND) for size in shape]
    while math.prod(sides) > voxels:
        sides[sides.index(max(sides))] -= ROUND
    return sides[0], sides[1], sides[2]
