"""Random patches of training slices: rotated, scaled, flipped, deformed and with other gray values, as one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from SparseSegLib.annotation import UNLABELED


@dataclass(frozen=True)
class SlicePatch:
    """The position of a patch: its center (pixels), the extent of its slice (pixels) and the spacing (mm)."""

    center: tuple[float, float]
    extent: tuple[int, int]
    spacing: tuple[float, float]


def sampling_grid(
    patches: list[SlicePatch], size: tuple[int, int], share: float, rng: np.random.Generator
) -> torch.Tensor:
    """Positions (row, column) in pixels at which each patch reads its slice, ``(B, size[0], size[1], 2)``.

    Flips; and for a ``share`` of the patches rotation by about 9°, scaling by about 12 % and a smooth deformation of
    about 2 pixels (from a 4×4 grid). The others stay on the pixels' own grid: interpolation blurs, and a network that
    never saw a sharp slice loses the finest outlines. Rotation happens in mm, so that oblong pixels are not sheared.
    """
    count, (height, width) = len(patches), size
    moved = rng.random(count) < share
    angle, scale = rng.normal(0, 0.15, count) * moved, np.exp(rng.normal(0, 0.12, count) * moved)
    flip = rng.choice([-1.0, 1.0], (count, 2))
    spacing = np.array([patch.spacing for patch in patches])
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    matrix = turn * scale[:, None, None] * flip[:, None, :] * spacing[:, None, :] / spacing[:, :, None]
    rows = torch.arange(height) - (height - 1) / 2
    columns = torch.arange(width) - (width - 1) / 2
    offsets = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)
    on_grid = [
        [math.floor(place) + (part - 1) / 2 % 1 for place, part in zip(patch.center, size, strict=True)]
        for patch in patches
    ]
    center = torch.tensor(np.where(moved[:, None], [patch.center for patch in patches], on_grid), dtype=torch.float32)
    places = torch.einsum("bij,uvj->buvi", torch.from_numpy(matrix).float(), offsets) + center[:, None, None]
    bumps = torch.from_numpy(rng.normal(0, 2.0, (count, 2, 4, 4)) * moved[:, None, None, None]).float()
    smooth = F.interpolate(bumps, size=size, mode="bicubic", align_corners=False)
    return places + smooth.movedim(1, -1)


def cut_patches(
    inputs: torch.Tensor, labels: torch.Tensor, places: torch.Tensor, patches: list[SlicePatch]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Read inputs (linear) and labels (nearest) at ``places``.

    ``inputs`` is ``(B, C, H, W)`` and ``labels`` ``(B, H, W)``; what lies outside a slice's own extent is
    unlabeled, and labels never come from between voxels, so nothing that was unlabeled becomes labeled.
    """
    device = inputs.device
    size = torch.tensor(inputs.shape[-2:], device=device)
    places = places.to(device)
    extent = torch.tensor([patch.extent for patch in patches], device=device)[:, None, None]
    inside = ((places > -0.5) & (places < extent - 0.5)).all(-1)
    places = torch.minimum(places.clamp(min=0), (extent - 1).float())
    grid = ((places + 0.5) / size * 2 - 1).flip(-1)
    moved = F.grid_sample(inputs, grid, align_corners=False, padding_mode="border")
    nearest = places.round().long()
    rows = nearest[..., 0] * labels.shape[-1] + nearest[..., 1]
    found = labels.flatten(1).gather(1, rows.flatten(1)).view(rows.shape)
    return moved, found.masked_fill(~inside, UNLABELED)


def vary_gray_values(inputs: torch.Tensor, channels: int, rng: np.random.Generator) -> torch.Tensor:
    """Change contrast, brightness and noise of the first ``channels`` channels of ``(B, C, H, W)``, in place."""
    count = len(inputs)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.1, (count, 1, 1, 1)))).float().to(inputs.device)
    shift = torch.from_numpy(rng.normal(0, 0.1, (count, 1, 1, 1))).float().to(inputs.device)
    strength = torch.from_numpy(np.abs(rng.normal(0, 0.03, (count, 1, 1, 1)))).float().to(inputs.device)
    image = inputs[:, :channels]
    noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32)).to(inputs.device)
    image.mul_(gain).add_(shift).add_(noise * strength)
    return inputs
