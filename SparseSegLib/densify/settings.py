"""What can be set for a densification, and the presets that set it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from SparseSegLib.errors import UsageError
from SparseSegLib.patches import SMALL_PATCHES, PatchRecipe
from SparseSegLib.prior import PRIOR_PARTS

LARGEST_SEED = 2**32 - 1
ALL_PARTS = ("distance", "interpolation", "appearance", "walk")


@dataclass(frozen=True)
class SliceRecipe:
    """How the slice learner (2.5D: a slice, its neighbors, the annotation prior) is built and trained.

    Attributes
    ----------
    widths : channels of the U-Net's levels
    neighbors : slices on either side that come in as channels
    prior : parts of the annotation prior that come in as channels (see ``SparseSegLib.prior.PRIOR_PARTS``)
    batch, crop : training patches per step, and their longest side (pixels)
    moved : share of the patches that are rotated, scaled and deformed; all are flipped at random
    learning_rate, weight_decay : AdamW
    pretrained : hear the network that learned on other volumes, where it is for such a problem
    forest : hear a forest of randomized trees that knows gray values at several scales (see ``voxel_forest``)
    averaging : decay of the averaged weights, which predict
    dice : weight of the soft Dice beside the cross-entropy in the loss
    part_dropout : share of the patches in which a part of the prior is hidden, each part but the walk by itself;
        0 where much is labeled
    variants : further priors per slice in which more than the slice itself is left out
    balance : exponent on the inverse class frequency in the loss; 1 gives classes equal influence
    most_voxels : larger regions of interest are worked on at a coarser grid
    volume : in a small region, train a 3D network on the image alone beside it, and hear both (see ``volume_opinion``)
    """

    widths: tuple[int, ...] = (16, 32, 48, 64)
    neighbors: int = 2
    prior: tuple[str, ...] = ALL_PARTS
    batch: int = 4
    crop: int = 96
    moved: float = 0.5
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    pretrained: bool = True
    averaging: float = 0.99
    dice: float = 1.0
    part_dropout: float = 0.25
    variants: int = 3
    balance: float = 0.5
    most_voxels: int = 8_000_000
    forest: bool = True
    volume: bool = True


@dataclass(frozen=True)
class Preset:
    """A recipe with the budget that suits it."""

    recipe: SliceRecipe | PatchRecipe
    seconds: float
    summary: str


PRESETS = {
    "fast": Preset(SliceRecipe(), 60, "about a minute on two CPU cores"),
    "balanced": Preset(SliceRecipe(widths=(24, 48, 64, 96)), 180, "three minutes on a CPU, wider network"),
    "thorough": Preset(
        SliceRecipe(widths=(32, 64, 96, 128), crop=128, variants=5, most_voxels=16_000_000),
        900,
        "a quarter of an hour, finer grid for large regions",
    ),
    "unet3d": Preset(SMALL_PATCHES, 180, "a small 3D U-Net that sees the image only"),
    "cicek2016": Preset(PatchRecipe(), 36_000, "the 3D U-Net paper to the letter; wants a GPU"),
}
"""The presets by name."""


@dataclass(frozen=True)
class DensifySettings:
    """Everything a user may choose. ``None`` means what the preset says.

    Attributes
    ----------
    preset : name out of ``PRESETS``
    budget_seconds, budget_steps : when to be done; seconds count everything, steps count training steps and win
    seed : the same seed and number of steps give the same result on a CPU
    device : auto, cpu, cuda, cuda:N or mps
    margin : what the region of interest adds around the annotated objects, as a share of their extent on each side
    prior : parts of the annotation prior, instead of the preset's; () for none
    refine : let a random walk over the image have the last word where the network is unsure (slice presets only)
    estimate : hold out some slices during the first part of the training to estimate the IoU
    stop_early : finish sooner when the loss no longer falls
    preview_seconds, checkpoint_seconds : how often
    network : entry of the network registry, to be trained as the preset unet3d trains its own (on patches of the image,
        without the annotation prior) instead of what the preset says; padded networks for volumes only
    """

    preset: str = "fast"
    budget_seconds: float | None = None
    budget_steps: int | None = None
    seed: int = 0
    device: str = "auto"
    margin: float = 0.1
    prior: tuple[str, ...] | None = None
    refine: bool = True
    estimate: bool = True
    stop_early: bool = False
    preview_seconds: float = 10.0
    checkpoint_seconds: float = 5.0
    network: str | None = None

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"There is no preset called {self.preset}.", f"Use one of {', '.join(PRESETS)}.")
        if self.prior is not None:
            object.__setattr__(self, "prior", tuple(self.prior))
            unknown = set(self.prior) - set(PRIOR_PARTS)
            if unknown:
                raise UsageError(f"Unknown parts of the prior: {', '.join(sorted(unknown))}.", f"Use {PRIOR_PARTS}.")
        for name in ("budget_seconds", "budget_steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be positive, not {value}.", "Leave it out for the preset's.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise UsageError(f"The seed must lie between 0 and {LARGEST_SEED}, not {self.seed}.", "0 is usual.")
        if not 0 <= self.margin <= 10:
            raise UsageError(f"margin must lie between 0 and 10, not {self.margin}.", "0.1 is usual.")

    @property
    def recipe(self) -> SliceRecipe | PatchRecipe:
        """The preset's recipe, or that of the network that was chosen."""
        return PRESETS[self.preset].recipe if self.network is None else replace(SMALL_PATCHES, network=self.network)

    @property
    def seconds(self) -> float:
        """The budget in seconds."""
        return self.budget_seconds if self.budget_seconds is not None else PRESETS[self.preset].seconds
