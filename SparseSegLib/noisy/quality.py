"""The quality awareness module (thesis on radiotherapy targets, 2019, section 3.2.2): how good a label looks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks.convolution import Convolution


class QualityNetwork(nn.Module):
    """A VGG-shaped network that gives each pair of an image and its label a score.

    Image and label, a channel for each class, go through levels of two 3×3 convolutions with ReLU, and max pooling
    between the levels; a 1×1 convolution follows, and its mean is the score. Scores start near 0, so that all samples
    begin with the same weight.

    Parameters
    ----------
    in_channels, classes : int, of the images and the labels
    dimensions : 2 or 3
    widths : channels of the levels; levels that the image is too small for are not pooled before
    """

    def __init__(
        self, in_channels: int, classes: int, dimensions: int = 2, widths: Sequence[int] = (16, 32, 64, 64)
    ) -> None:
        super().__init__()
        self.classes = classes
        solid = dimensions == 3
        self.pool = F.max_pool3d if solid else F.max_pool2d
        self.levels = nn.ModuleList()
        for before, after in zip([in_channels + classes, *widths[:-1]], widths, strict=True):
            layers: list[nn.Module] = []
            for channels in (before, after):
                layer = Convolution(channels, after, 3) if solid else nn.Conv2d(channels, after, 3, padding=1)
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                layers += [layer, nn.ReLU(inplace=True)]
            self.levels.append(nn.Sequential(*layers))
        self.score = (nn.Conv3d if solid else nn.Conv2d)(widths[-1], 1, 1)
        nn.init.normal_(self.score.weight, std=0.01)
        if self.score.bias is not None:
            nn.init.zeros_(self.score.bias)

    def forward(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scores ``(B,)`` of images ``(B, C, ...)`` with labels ``(B, ...)``; unlabeled voxels belong to no class."""
        labeled = (target != UNLABELED)[:, None]
        known = torch.where(target == UNLABELED, 0, target).long()
        classes = F.one_hot(known, self.classes).movedim(-1, 1).to(image.dtype) * labeled
        x = torch.cat([image, classes], 1)
        for number, level in enumerate(self.levels):
            if number and min(x.shape[2:]) > 1:
                x = self.pool(x, 2)
            x = level(x)
        return self.score(x).flatten(1).mean(1)
