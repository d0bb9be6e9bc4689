"""Batches of samples to learn from: real volumes changed at random, and painted label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from Experiments.synthesis.anatomy import Anatomy
from Experiments.synthesis.appearance import degrade, hide_borders, vary
from Experiments.synthesis.painting import paint
from Experiments.synthesis.places import Views, random_views
from SparseSegLib.annotation import UNLABELED
from SparseSegLib.augmentation.histogram import quantile_tables
from SparseSegLib.augmentation.reading import cut

Size = tuple[int, int, int]


@dataclass(frozen=True)
class SynthesisSettings:
    """The distribution of the samples.

    Attributes
    ----------
    window : (z, y, x) voxels of a sample
    spacing : (z, y, x) mm, of the anatomies and of the samples
    real : fraction of samples that are real images; the others are painted
    phantoms : fraction of the painted samples that come from phantoms, where there are real volumes too
    absent : fraction of all samples that show no structure at all
    narrow : fraction of samples with a narrower field of view
    views, painted_views : how samples of either kind differ in place and shape
    """

    window: Size
    spacing: tuple[float, float, float]
    real: float = 0.5
    phantoms: float = 0.3
    absent: float = 0.08
    narrow: float = 0.3
    views: Views = field(default_factory=Views)
    painted_views: Views = field(default_factory=lambda: Views(deformation=8.0, scaling=(0.2, 0.12)))


class SampleGenerator:
    """Makes batches of images and labels, on the device of a random generator; the same seed gives the same samples.

    Parameters
    ----------
    real : anatomies with images
    phantoms : anatomies without
    absent : anatomies without the structure
    settings : SynthesisSettings
    generator : its device is where the samples are made
    """

    def __init__(
        self,
        real: Sequence[Anatomy],
        phantoms: Sequence[Anatomy],
        absent: Sequence[Anatomy],
        settings: SynthesisSettings,
        generator: torch.Generator,
    ) -> None:
        device = generator.device
        self.settings = settings
        self.generator = generator
        self.real = [anatomy.to(device) for anatomy in real]
        self._phantoms = [anatomy.to(device) for anatomy in phantoms]
        self._absent = [anatomy.to(device) for anatomy in absent]
        images = [anatomy.image for anatomy in self.real if anatomy.image is not None]
        self._tables = torch.stack([quantile_tables(image[None, None])[0, 0] for image in images]) if images else None

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images ``(count, 1, z, y, x)``, −1 to 1 about, and labels ``(count, z, y, x)`` uint8: 0, 1, or 255."""
        images, labels = zip(*(self.sample() for _ in range(count)), strict=True)
        return torch.stack(images)[:, None], torch.stack(labels)

    def sample(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One image and its labels, both ``(z, y, x)``; labels are unlabeled beyond the volume."""
        settings = self.settings
        absent, real, phantom, narrow = torch.rand(4, generator=self.generator, device=self.generator.device).tolist()
        if absent < settings.absent and self._absent:
            image, target = self._painted(self._one_of(self._absent))
        elif real < settings.real and self.real:
            image, target = self.realistic(self._one_of(self.real))
        else:
            kind = self._phantoms if phantom < settings.phantoms and self._phantoms else self.real
            image, target = self._painted(self._one_of(kind or self._phantoms))
        if narrow < settings.narrow:
            image, target = hide_borders(image, target, UNLABELED, self.generator)
        return image, target

    def realistic(self, anatomy: Anatomy) -> tuple[torch.Tensor, torch.Tensor]:
        """A real image, changed in place, shape and gray values."""
        (image, _, _), _, target = self._view(anatomy, self.settings.views)
        return degrade(vary(image, self._tables, self.generator), self.settings.spacing, self.generator), target

    def _painted(self, anatomy: Anatomy) -> tuple[torch.Tensor, torch.Tensor]:
        """A label map in gray values that nobody has seen."""
        (_, detail, _), tissues, target = self._view(anatomy, self.settings.painted_views)
        return degrade(paint(tissues, detail, self.generator), self.settings.spacing, self.generator), target

    def _view(self, anatomy: Anatomy, views: Views) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The part of an anatomy in a window: its channels, its tissues, and 0, 1 or 255 for the structure."""
        settings = self.settings
        places = random_views(anatomy.center, settings.window, settings.spacing, views, self.generator)
        channels, tissues = cut(anatomy.channels, anatomy.tissues, places)
        target = (channels[0, 2] > 0.5).to(torch.uint8).masked_fill(tissues[0] == UNLABELED, UNLABELED)
        return channels[0], tissues[0], target

    def _one_of(self, anatomies: Sequence[Anatomy]) -> Anatomy:
        draw = torch.rand(1, generator=self.generator, device=self.generator.device)
        return anatomies[int(draw * len(anatomies))]
