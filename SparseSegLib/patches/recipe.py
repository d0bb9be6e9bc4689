"""Configuration of a 3D network and its training on patches, for one volume and for many."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PatchRecipe:
    """Configuration of a 3D network and its training on patches of the image.

    ``network`` and ``arguments`` name an entry of the registry; ``patch`` is the input's (z, y, x) size.
    """

    network: str = "cicek2016"
    arguments: dict[str, object] = field(default_factory=dict)
    patch: tuple[int, int, int] = (116, 132, 132)
    batch: int = 1
    learning_rate: float = 1e-2
    momentum: float = 0.99
    deformation_spacing: float = 32.0
    deformation_deviation: float = 4.0
    balance: float = 1.0


SMALL_PATCHES = PatchRecipe(
    network="unet3d-small", patch=(48, 64, 64), batch=2, momentum=0.9, learning_rate=2e-2, balance=0.5
)
"""A small padded 3D U-Net, which a CPU trains in minutes."""
