"""Settings of a densification, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from SparseSegLib.densify.experts import (
    AdaptedRecipe,
    ExpertRecipe,
    ExtraTreesRecipe,
    PretrainedRecipe,
    RandomWalkRecipe,
    SliceUNetRecipe,
    UNet3DRecipe,
)
from SparseSegLib.errors import UsageError
from SparseSegLib.image import Box
from SparseSegLib.patches import SMALL_PATCHES, PatchRecipe
from SparseSegLib.prior import PRIOR_PARTS

LARGEST_SEED = 2**32 - 1
MOST_COARSER = 16


@dataclass(frozen=True)
class Preset:
    """The experts of an ensemble, with the budget that suits them.

    Attributes
    ----------
    experts : recipes of the experts; those that do not suit a problem are left out
    seconds : budget
    summary : in words
    most_voxels : larger regions of interest are seen and predicted part by part
    """

    experts: tuple[ExpertRecipe, ...]
    seconds: float
    summary: str
    most_voxels: int = 8_000_000


BESIDE = UNet3DRecipe(
    PatchRecipe(
        "unet3d-residual",
        {"widths": (16, 32, 64)},
        patch=(64, 64, 64),
        learning_rate=3e-3,
        deformation_deviation=0.0,
        balance=0.5,
    ),
    optimizer="adamw",
    dice=1.0,
    still=0.5,
    most_voxels=300_000,
    least_seconds=10.0,
    voxels_per_second=7_500,
    every=2,
    warmup=100,
)
"""A small 3D U-Net that learns beside the slice U-Net where the region is small."""


def _with_slices(slices: SliceUNetRecipe) -> tuple[ExpertRecipe, ...]:
    return slices, BESIDE, PretrainedRecipe(), ExtraTreesRecipe(), RandomWalkRecipe()


PRESETS = {
    "fast": Preset(_with_slices(SliceUNetRecipe()), 60, "about a minute on two CPU cores"),
    "balanced": Preset(
        _with_slices(SliceUNetRecipe(widths=(24, 48, 64, 96))), 180, "three minutes on a CPU, wider network"
    ),
    "thorough": Preset(
        _with_slices(SliceUNetRecipe(widths=(32, 64, 96, 128), crop=128)),
        900,
        "a quarter of an hour, wider network and larger patches",
        most_voxels=16_000_000,
    ),
    "unet3d": Preset(
        (UNet3DRecipe(SMALL_PATCHES),), 180, "a small 3D U-Net that sees the image only", most_voxels=64_000_000
    ),
    "cicek2016": Preset(
        (UNet3DRecipe(),), 36_000, "the 3D U-Net exactly as in its paper; needs a GPU", most_voxels=64_000_000
    ),
}
"""The presets by name."""


@dataclass(frozen=True)
class DensifySettings:
    """Settings of a densification. ``None`` means the preset's default.

    Attributes
    ----------
    preset : name out of ``PRESETS``
    budget_seconds, budget_steps : when to be done; seconds count everything, steps count training steps and win
    seed : the same seed and number of steps give the same result on a CPU
    device : auto, cpu, cuda, cuda:N or mps
    margin : what the region of interest adds around the annotated objects, as a fraction of their extent on each side
    budget_counts : what ``budget_seconds`` count: "everything", or "learning" alone, after which the prediction takes
        as long as it takes; None for everything, but learning alone in a region so large that it is seen part by part
    coarser : work at voxels up to so many times as long as the shortest side of the image's own voxels are; 1 for these
    region : voxels ``(z, z, y, y, x, x)`` that are the region of interest instead; along each axis the first one, and
        the one after the last
    prior : parts of the annotation prior, instead of the preset's; () for none
    estimate : hold out some slices during the first part of the training to estimate the IoU
    stop_early : finish sooner when the loss no longer falls
    preview_seconds, checkpoint_seconds : how often
    network : entry of the network registry, to be trained as the preset unet3d trains its own (on patches of the image,
        without the annotation prior) instead of the preset's; padded networks for volumes only
    experts : names of some of the preset's experts, or recipes of others, instead of all of the preset's
    start : path of a model's bundle whose network joins the experts: it begins with its weights, and learns on; "" for
        none
    shown : the ``DensifyResult.annotation`` of a result that is on display, "" for none. No quicker and worse preview
        takes its place: while nothing else is annotated there is none, and then only those of the slices on display
        and, of small regions, carefully predicted ones
    """

    preset: str = "fast"
    budget_seconds: float | None = None
    budget_steps: int | None = None
    seed: int = 0
    device: str = "auto"
    margin: float = 0.1
    budget_counts: Literal["everything", "learning"] | None = None
    coarser: float = 1.0
    region: tuple[int, int, int, int, int, int] | None = None
    prior: tuple[str, ...] | None = None
    estimate: bool = True
    stop_early: bool = False
    preview_seconds: float = 10.0
    checkpoint_seconds: float = 5.0
    network: str | None = None
    experts: tuple[ExpertRecipe | str, ...] | None = None
    start: str = ""
    shown: str = ""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"There is no preset called {self.preset}.", f"Use one of {', '.join(PRESETS)}.")
        if self.prior is not None:
            object.__setattr__(self, "prior", tuple(self.prior))
            unknown = set(self.prior) - set(PRIOR_PARTS)
            if unknown:
                raise UsageError(f"Unknown parts of the prior: {', '.join(sorted(unknown))}.", f"Use {PRIOR_PARTS}.")
        if self.region is not None:
            object.__setattr__(self, "region", tuple(self.region))
            if any(stop <= start for start, stop in zip(self.region[::2], self.region[1::2], strict=True)):
                hint = "Give the first voxel along each axis, and the one after the last."
                raise UsageError(f"The region {self.region} is empty.", hint)
        if self.experts is not None:
            object.__setattr__(self, "experts", tuple(self.experts))
            self._check_experts([one if isinstance(one, str) else one.name for one in self.experts])
        for name in ("budget_seconds", "budget_steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be positive, not {value}.", "Leave it out for the preset's.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise UsageError(f"The seed must lie between 0 and {LARGEST_SEED}, not {self.seed}.", "0 is usual.")
        if self.budget_counts not in (None, "everything", "learning"):
            raise UsageError(f"A budget cannot count {self.budget_counts}.", "Use everything or learning.")
        if not 1 <= self.coarser <= MOST_COARSER:
            raise UsageError(f"coarser must lie between 1 and {MOST_COARSER}, not {self.coarser}.", "1 is usual.")
        if not 0 <= self.margin <= 10:
            raise UsageError(f"margin must lie between 0 and 10, not {self.margin}.", "0.1 is usual.")

    def _check_experts(self, names: list[str]) -> None:
        known = [recipe.name for recipe in PRESETS[self.preset].experts]
        hint = f"Use some of {', '.join(known)}."
        wrong = [one for one in self.experts or () if isinstance(one, str) and one not in known]
        if wrong:
            raise UsageError(f"The preset {self.preset} has no expert called {wrong[0]!r}.", hint)
        if not names:
            raise UsageError("No expert was chosen.", hint)
        if len(set(names)) < len(names):
            raise UsageError(f"An expert was chosen twice: {', '.join(names)}.", "Name each once.")

    @property
    def recipes(self) -> tuple[ExpertRecipe, ...]:
        """The recipes of the chosen experts."""
        adapted = (AdaptedRecipe(self.start),) if self.start else ()
        if self.network is not None:
            return UNet3DRecipe(replace(SMALL_PATCHES, network=self.network), padded=True), *adapted
        known = {recipe.name: recipe for recipe in PRESETS[self.preset].experts}
        chosen = known.values() if self.experts is None else self.experts
        recipes = [known[one] if isinstance(one, str) else one for one in chosen]
        if self.prior is not None:
            recipes = [
                replace(recipe, prior=self.prior) if isinstance(recipe, SliceUNetRecipe) else recipe
                for recipe in recipes
            ]
        return *recipes, *adapted

    @property
    def region_choice(self) -> tuple[float, int, Box | None, float]:
        """What ``make_problem`` needs to know of the region: margin, most voxels, a chosen box, and how coarse."""
        chosen = None
        if self.region is not None:
            z, y, x = (slice(*self.region[start : start + 2]) for start in (0, 2, 4))
            chosen = (z, y, x)
        return self.margin, self.most_voxels, chosen, self.coarser

    def counts_learning_only(self, *, in_parts: bool) -> bool:
        """Whether the budget is for the learning alone, in a region that is seen part by part or in another."""
        return self.budget_counts == "learning" or (self.budget_counts is None and in_parts)

    @property
    def most_voxels(self) -> int:
        """Of a working grid that is seen as a whole."""
        return PRESETS[self.preset if self.network is None else "unet3d"].most_voxels

    @property
    def seconds(self) -> float:
        """The budget in seconds."""
        return self.budget_seconds if self.budget_seconds is not None else PRESETS[self.preset].seconds
