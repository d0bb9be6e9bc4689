"""The changes of the ablation: each is the ``fast`` preset with one thing different."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from SparseSegLib.densify import PRESETS, DensifySettings
from SparseSegLib.densify.settings import ALL_PARTS, Preset, SliceRecipe
from SparseSegLib.prior import PRIOR_PARTS

BASELINE = "fast"
ALONE = "without the pretrained network"  # what changes of the prior are to be compared with


@dataclass(frozen=True)
class Change:
    """One row of the ablation.

    Attributes
    ----------
    name : what is different, in words
    recipe : fields of the preset's recipe, by name
    settings : fields of ``DensifySettings``, by name
    preset : the preset that is changed
    variant : a piece of the learner that is replaced, see ``variants.VARIANTS``
    against : name of the change that this one is compared with
    """

    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    preset: str = BASELINE
    variant: str = ""
    against: str = BASELINE

    def missing(self) -> list[str]:
        """The fields that recipe or settings of this version do not have, so that the change cannot be made."""
        known = {item.name for item in fields(PRESETS[self.preset].recipe)}
        known_settings = {item.name for item in fields(DensifySettings)}
        return sorted((set(self.recipe) - known) | (set(self.settings) - known_settings))

    def make(self, seconds: float, seed: int) -> DensifySettings:
        """The settings for a run; a changed recipe becomes a preset by the change's name, in this process only."""
        name = self.preset
        if self.recipe:
            preset = PRESETS[self.preset]
            name = f"ablation: {self.name}"
            PRESETS[name] = Preset(replace(preset.recipe, **self.recipe), preset.seconds, self.name)
        return DensifySettings(name, seconds, seed=seed, **self.settings)


def all_changes() -> list[Change]:
    """Every change, the unchanged preset first."""
    recipe = PRESETS[BASELINE].recipe
    assert isinstance(recipe, SliceRecipe)
    return [
        Change(BASELINE),
        Change(ALONE, {"pretrained": False}),
        *_prior_changes(recipe.prior),
        *_training_changes(),
        *_network_changes(recipe),
    ]


def _prior_changes(usual: tuple[str, ...]) -> list[Change]:
    """Changes that make the pretrained network fall silent too, which knows the usual prior alone."""
    recipes = {change.name: {"pretrained": False, **change.recipe} for change in _part_changes(usual)}
    changes = [Change(name, recipe, against=ALONE) for name, recipe in recipes.items()]
    for name, variant in (
        ("a walk that does not see the image (harmonic)", "harmonic"),
        ("geodesic distances instead of the walk", "geodesic"),
        ("priors that know their own slice", "knowing"),
    ):
        changes.append(Change(name, {"pretrained": False}, variant=variant, against=ALONE))
    return changes


def _part_changes(usual: tuple[str, ...]) -> list[Change]:
    parts = list(dict.fromkeys((*ALL_PARTS, *PRIOR_PARTS, *usual)))
    changes = [Change("no prior", {"prior": ()})]
    for part in parts:
        if part in usual:
            rest = tuple(other for other in usual if other != part)
            changes += [Change(f"no {part}", {"prior": rest})]
            changes += [Change(f"{part} alone", {"prior": (part,)})] if rest else []
        else:
            changes.append(Change(f"with {part}", {"prior": (*usual, part)}))
    return changes


def _training_changes() -> list[Change]:
    return [
        Change("no forest", {"forest": False}),
        Change("no 3D network beside", {"volume": False}),
        Change("no refinement", settings={"refine": False}),
        Change("no estimate: all slices learned from at once", settings={"estimate": False}),
        Change("no averaged weights", {"averaging": 0.0}),
        Change("cross-entropy alone", {"dice": 0.0}),
        Change("patches flipped, but not turned, scaled or deformed", {"moved": 0.0}),
        Change("no part of the prior hidden", {"part_dropout": 0.0}),
        Change("each prior as it is: no further slices left out", {"variants": 0}),
        Change("classes not balanced", {"balance": 0.0}),
        Change("half the resolution at first", variant="coarse at first"),
        Change("mean teacher on slices without labels", variant="teacher"),
        Change("four snapshots predict together", variant="snapshots"),
        Change("four mirror images averaged", variant="flips"),
    ]


def _network_changes(recipe: SliceRecipe) -> list[Change]:
    half, twice = (tuple(int(width * factor) for width in recipe.widths) for factor in (0.5, 2))
    return [
        Change("half as wide", {"widths": half}),
        Change("twice as wide", {"widths": twice}),
        Change("one level less", {"widths": recipe.widths[:-1]}),
        Change("no neighboring slices", {"neighbors": 0, "pretrained": False}, against=ALONE),
        Change("pixels to channels (half the resolution inside)", variant="stem"),
        Change("3D patches of the image alone", preset="unet3d"),
    ]
