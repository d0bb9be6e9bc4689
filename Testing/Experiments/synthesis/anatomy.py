"""The anatomy that samples are generated from: a map of tissues, and the structure to segment."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

HIGHEST = 254  # tissue; 255 is what lies beyond the volume


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A label map of tissues, and the image that it was made from, if there is one.

    Parameters
    ----------
    tissues : (Z, Y, X) uint8, 0 to 254
    target : (Z, Y, X) bool, the structure; may be empty
    image : (Z, Y, X) float32, normalized as for the network; None for a phantom
    detail : (Z, Y, X) float32: what the image shows beyond the mean of each tissue; made here

    Attributes
    ----------
    center : (3,) voxels (z, y, x): where samples are taken around, the middle of the structure or else of the volume
    """

    tissues: torch.Tensor
    target: torch.Tensor
    image: torch.Tensor | None = None
    detail: torch.Tensor = field(init=False)
    center: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", self._detail())
        places = self.target.nonzero().float()
        middle = (torch.tensor(self.tissues.shape, device=self.tissues.device) - 1) / 2
        object.__setattr__(self, "center", places.mean(0) if len(places) else middle)

    @classmethod
    def of(cls, tissues: np.ndarray, target: np.ndarray, image: torch.Tensor | None = None) -> Anatomy:
        """From arrays."""
        return cls(torch.from_numpy(tissues.astype(np.uint8)), torch.from_numpy(target > 0), image)

    def to(self, device: torch.device) -> Anatomy:
        """The same on a device."""
        image = None if self.image is None else self.image.to(device)
        return Anatomy(self.tissues.to(device), self.target.to(device), image)

    @property
    def channels(self) -> torch.Tensor:
        """(3, Z, Y, X) float32: what moves smoothly: image (0 for a phantom), detail, structure (0 or 1)."""
        image = torch.zeros_like(self.detail) if self.image is None else self.image
        return torch.stack([image, self.detail, self.target.float()])

    def _detail(self) -> torch.Tensor:
        if self.image is None:
            return torch.zeros(self.tissues.shape, device=self.tissues.device)
        kinds, values = self.tissues.long().flatten(), self.image.flatten()
        sums = torch.zeros(HIGHEST + 1, device=values.device).index_add_(0, kinds, values)
        means = sums / torch.bincount(kinds, minlength=HIGHEST + 1).clamp(min=1)
        return self.image - means[self.tissues.long()]
