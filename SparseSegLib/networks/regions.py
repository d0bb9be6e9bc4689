"""Regions that may be nested, and the exclusive labels of a segmentation: from one to the other and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from SparseSegLib.errors import UsageError


@dataclass(frozen=True)
class RegionScheme:
    """The labels that make up each region.

    Attributes
    ----------
    names : of the regions
    labels : label values of each region; a label may belong to several, 0 is the background and belongs to none

    Raises
    ------
    UsageError
        If a region is empty, or two labels belong to the same regions and could not be distinguished.
    """

    names: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.labels) or not self.names:
            raise UsageError(f"There are {len(self.names)} names for {len(self.labels)} regions.", "Name each region.")
        if any(not region or min(region) < 1 for region in self.labels):
            raise UsageError("A region has no labels, or the background.", "Give each region labels from 1.")
        rows = [tuple(value in region for region in self.labels) for value in self.values]
        if len(set(rows)) != len(rows):
            raise UsageError("Two labels belong to the same regions.", "Give one of them a region of its own.")

    @classmethod
    def nested(cls, *names: str) -> RegionScheme:
        """Each region contains the next: the first all labels 1..n, the second 2..n, the last n alone."""
        count = len(names)
        return cls(names, tuple(tuple(range(first, count + 1)) for first in range(1, count + 1)))

    @classmethod
    def separate(cls, *names: str) -> RegionScheme:
        """Each label 1..n is a region of its own."""
        return cls(names, tuple((value,) for value in range(1, len(names) + 1)))

    @property
    def values(self) -> tuple[int, ...]:
        """All label values but the background's, in order."""
        return tuple(sorted({value for region in self.labels for value in region}))

    @property
    def is_nested(self) -> bool:
        """Whether each region lies in the one before."""
        return all(set(inner) < set(outer) for outer, inner in zip(self.labels[:-1], self.labels[1:], strict=True))

    def regions_of(self, labels: torch.Tensor) -> torch.Tensor:
        """Masks ``(B, R, ...)`` (bool) of labels ``(B, ...)``; an unlabeled voxel lies in none of them."""
        table = torch.zeros(256, len(self.labels), dtype=torch.bool, device=labels.device)
        for number, region in enumerate(self.labels):
            table[list(region), number] = True
        return table[labels.long()].movedim(-1, 1)

    def class_logits(self, regions: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, 1 + labels, ...)`` of background and labels, for logits ``(B, R, ...)`` of the regions.

        A label's logit is the sum over the regions that contain it. Their softmax is what independent sigmoids give for
        the labels once combinations of regions that no label has are left out; for a single region it is the sigmoid.
        """
        members = torch.tensor([[value in region for region in self.labels] for value in self.values])
        logits = torch.einsum("kr,br...->bk...", members.to(regions), regions)
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)

    def labels_of(self, regions: torch.Tensor) -> torch.Tensor:
        """Labels ``(B, ...)`` uint8 for regions ``(B, R, ...)``, masks (bool) or logits.

        Where no label has that combination of regions, it is the one that agrees best with them, the outer in a tie: an
        enhancing tumor outside of the tumor's core is discarded.
        """
        signed = 2 * regions.float() - 1 if regions.dtype == torch.bool else regions
        values = torch.tensor((0, *self.values), dtype=torch.uint8, device=regions.device)
        return values[self.class_logits(signed).argmax(1)]


BRATS = RegionScheme.nested("whole tumor", "tumor core", "enhancing tumor")
"""Regions of the brain tumor challenge (Myronenko 2018, section 1): 1 edema, 2 the rest of the core, 3 enhancing."""


def region_scheme(regions: str | Sequence[str], classes: int) -> RegionScheme:
    """The scheme for ``classes`` (background included) of "nested", "separate" or texts like "1+2".

    Raises
    ------
    UsageError
        If it is none of them, or its labels are not those of the classes.
    """
    names = tuple(f"region {number}" for number in range(1, classes))
    if regions == "nested":
        return RegionScheme.nested(*names)
    if regions == "separate":
        return RegionScheme.separate(*names)
    if isinstance(regions, str):
        raise UsageError(f"There are no regions called {regions}.", "Use nested, separate, or a list of regions.")
    try:
        labels = tuple(tuple(int(value) for value in region.split("+")) for region in regions)
    except ValueError as error:
        raise UsageError(f"The regions {regions} are no sums of labels.", 'Write them like "1+2".') from error
    scheme = RegionScheme(tuple(regions), labels)
    if scheme.values != tuple(range(1, classes)):
        raise UsageError(
            f"The regions have the labels {scheme.values}, and the classes are 1 to {classes - 1}.",
            "Let each class be in a region.",
        )
    return scheme
