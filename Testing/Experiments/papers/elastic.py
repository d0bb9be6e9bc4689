"""The elastic deformation of the 2D U-Net: a 3×3 grid of random vectors over an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from SparseSegLib.augmentation.reading import read


def deform_slices(
    images: torch.Tensor,
    labels: torch.Tensor,
    generator: torch.Generator,
    deviation: float = 10.0,
    grid: int = 3,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Deform a batch of 2D images at random, each in its own way (Ronneberger et al. 2015, section 3.1).

    Parameters
    ----------
    images, labels : (B, C, Y, X) and (B, Y, X), on the generator's device
        Images are interpolated linearly and mirrored beyond their border, of labels the nearest is taken; what comes
        from beyond the border is unlabeled.
    generator : torch.Generator
    deviation : standard deviation of each component of the grid's random vectors, in pixels
    grid : vectors along an axis, the outer ones on the image's border; bicubic between them

    Returns
    -------
    Images and labels of the same shapes.
    """
    height, width = labels.shape[1:]
    vectors = deviation * torch.randn(len(labels), 2, grid, grid, generator=generator, device=generator.device)
    moves = F.interpolate(vectors, (height, width), mode="bicubic", align_corners=True).movedim(1, -1)
    lines = [torch.arange(size, device=generator.device) for size in (height, width)]
    places = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1) + moves
    in_slice = F.pad(places, (1, 0))[:, None]  # z = 0 before (y, x), and an axis z of one
    moved, of_labels = read(images[:, :, None], labels[:, None], in_slice)
    return moved[:, :, 0], of_labels[:, 0]
