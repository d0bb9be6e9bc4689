"""Images and labels read at given places: one map moves image, labels and "unlabeled" together."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from SparseSegLib.annotation import UNLABELED


def read(images: torch.Tensor, labels: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Read images ``(B, C, Z, Y, X)`` (linear) and labels ``(B, Z, Y, X)`` (nearest) at ``places (B, z, y, x, 3)``.

    Places are (z, y, x) in voxels. Beyond the volume the image is mirrored and everything is unlabeled. A label comes
    from exactly one voxel of the volume, so that nothing unlabeled becomes labeled.
    """
    size = torch.tensor(labels.shape[1:], device=places.device)
    grid = ((places + 0.5) / size * 2 - 1).flip(-1)
    moved = F.grid_sample(images, grid, align_corners=False, padding_mode="reflection")
    nearest = places.round().long()
    inside = ((nearest >= 0) & (nearest < size)).all(-1)
    z, y, x = nearest.clamp(min=torch.zeros_like(size), max=size - 1).unbind(-1)
    number = torch.arange(len(labels), device=places.device).view(-1, 1, 1, 1)
    return moved, labels[number, z, y, x].masked_fill(~inside, UNLABELED)


def cut(image: torch.Tensor, labels: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`read` several patches of one volume: image ``(C, Z, Y, X)``, labels ``(Z, Y, X)``."""
    count = len(places)
    return read(image.expand(count, -1, -1, -1, -1), labels.expand(count, -1, -1, -1), places)
