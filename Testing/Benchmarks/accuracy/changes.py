"""The changes of the ablation: each is the list of experts of the ``fast`` preset with one thing different."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from SparseSegLib.densify import PRESETS, DensifySettings
from SparseSegLib.prior import USUAL_PARTS

BASELINE = "fast"


@dataclass(frozen=True)
class Change:
    """One row of the ablation.

    Attributes
    ----------
    name : what is different, in words
    without : names of experts that are left out
    options : of an expert by its name, fields of its recipe
    settings : fields of ``DensifySettings``
    """

    name: str
    without: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def make(self, seconds: float, seed: int) -> DensifySettings:
        """The settings for a run."""
        recipes = [recipe for recipe in PRESETS[BASELINE].experts if recipe.name not in self.without]
        experts = tuple(replace(recipe, **self.options.get(recipe.name, {})) for recipe in recipes)  # type: ignore[type-var]
        return DensifySettings(BASELINE, seconds, seed=seed, experts=experts, **self.settings)


def all_changes() -> list[Change]:
    """Every change, the unchanged preset first."""
    names = [recipe.name for recipe in PRESETS[BASELINE].experts]
    return [
        Change(BASELINE),
        *(Change(f"no {name}", (name,)) for name in names),
        *(Change(f"{name} alone", tuple(other for other in names if other != name)) for name in names),
        Change("no held-out slices", settings={"estimate": False}),
        *(_slices(f"prior without {part}", prior=_without(part)) for part in USUAL_PARTS),
        *(_slices(f"prior of {part} alone", prior=(part,)) for part in USUAL_PARTS),
        _slices("no prior", prior=()),
        _slices("no neighboring slices", neighbors=0),
        _slices("no averaged weights", averaging=0.0),
        _slices("cross-entropy alone", dice=0.0),
        _slices("patches flipped, but not turned, scaled or deformed", moved=0.0),
        _slices("classes not balanced", balance=0.0),
        _slices("half as wide", widths=(8, 16, 24, 32)),
        _slices("twice as wide", widths=(32, 64, 96, 128)),
        _slices("one level less", widths=(16, 32, 48)),
    ]


def _slices(name: str, **options: Any) -> Change:
    return Change(name, options={"slice-unet": options})


def _without(part: str) -> tuple[str, ...]:
    return tuple(other for other in USUAL_PARTS if other != part)
