"""What can be set for the training of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SparseSegLib.errors import UsageError

VOXELS = 48 * 64 * 64  # of a patch, unless it is chosen
ROUND = 8


@dataclass(frozen=True)
class TrainSettings:
    """Everything a user may choose for a training.

    Attributes
    ----------
    network, arguments : entry of the network registry, and what to give its class
    spacing : (z, y, x) mm of the grid to work on; None for the median over the cases
    patch : (z, y, x) voxels that the network sees at once; None for a size that suits the volumes
    batch : patches a step; they only add up, so that 1 makes the most of a short budget
    budget_seconds, budget_steps : when to be done; seconds count the training, steps win
    seed : the same seed and number of steps give the same weights on a CPU
    device : auto, cpu, cuda, cuda:N or mps
    mirror : learn from mirrored images too; not for structures that have a left and a right of their own
    checkpoint_seconds : how often to save what was learned
    """

    network: str = "unet3d-small"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    spacing: tuple[float, float, float] | None = None
    patch: tuple[int, int, int] | None = None
    batch: int = 1
    budget_seconds: float = 600.0
    budget_steps: int | None = None
    seed: int = 0
    device: str = "auto"
    mirror: bool = False
    checkpoint_seconds: float = 10.0

    def __post_init__(self) -> None:
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
        if not 1 <= self.batch <= 64:
            raise UsageError(f"There must be 1 to 64 patches a step, not {self.batch}.", "1 is usual.")


def suitable_patch(shape: tuple[int, int, int], voxels: int = VOXELS) -> tuple[int, int, int]:
    """A patch (z, y, x) for volumes of ``shape``: as much of them as fits into ``voxels``, sides multiples of 8."""
    sides = [max(2 * ROUND, -(-size // ROUND) * ROUND) for size in shape]
    while math.prod(sides) > voxels:
        sides[sides.index(max(sides))] -= ROUND
    return sides[0], sides[1], sides[2]
