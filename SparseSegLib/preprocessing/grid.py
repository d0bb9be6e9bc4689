"""The grid that a network works on: a volume's own field of view in a common orientation and spacing, and back."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from scipy import ndimage

from SparseSegLib.errors import UsageError
from SparseSegLib.image import Geometry, Volume, resample
from SparseSegLib.image.intensity import normalize
from SparseSegLib.preprocessing.nonzero import normalize_nonzero
from SparseSegLib.units import lengths_text

Spacing = tuple[float, float, float]

NORMALIZE = {"percentiles": normalize, "nonzero": normalize_nonzero}
SLAB_VOXELS = 4_000_000
MOST_VOXELS = 1 << 31
COARSEST = 10  # spacings may be so many times the extent of a volume
BLUR = 2 * np.sqrt(2 * np.log(2))  # full width at half maximum of a Gaussian, in standard deviations


def oriented(geometry: Geometry) -> Geometry:
    """The same voxels with axes exchanged and flipped, so that x, y, z run mostly to the left, back and head (LPS).

    An oblique grid stays oblique: no axis turns by more than it must.
    """
    axes = np.asarray(geometry.direction).reshape(3, 3)[:, ::-1]  # columns: LPS directions of the axes z, y, x
    towards = np.abs(axes[::-1])  # rows: how far each axis runs along z, y, x of the patient
    best = max(permutations(range(3)), key=lambda order: sum(towards[row, axis] for row, axis in enumerate(order)))
    signs = [1.0 if axes[2 - row, axis] >= 0 else -1.0 for row, axis in enumerate(best)]
    first = np.zeros(3)
    for sign, axis in zip(signs, best, strict=True):
        first[axis] = 0 if sign > 0 else geometry.shape[axis] - 1
    direction = np.stack([sign * axes[:, axis] for sign, axis in zip(signs, best, strict=True)], 1)[:, ::-1]
    z, y, x = (geometry.shape[axis] for axis in best)
    depth, height, width = (geometry.spacing[axis] for axis in best)
    origin = geometry.index_to_physical(first)
    return Geometry((z, y, x), (depth, height, width), tuple(origin), tuple(direction.ravel()))


def working_grid(geometry: Geometry, spacing: Spacing) -> Geometry:
    """The grid for a network of this ``spacing`` (z, y, x; mm) over the field of view of ``geometry``.

    Raises
    ------
    UsageError
        If the spacing is so fine that the volume does not fit into memory, or much coarser than all of it.
    """
    grid = oriented(geometry)
    _check_spacing(grid, spacing)
    return grid if np.allclose(grid.spacing, spacing, rtol=1e-3) else grid.with_spacing(spacing)


def _check_spacing(grid: Geometry, spacing: Spacing) -> None:
    extent = np.multiply(grid.shape, grid.spacing)
    size = lengths_text(extent[::-1].tolist())
    with np.errstate(over="ignore"):
        voxels = float(np.prod(np.maximum(1.0, extent / spacing)))
    if voxels > MOST_VOXELS:
        what, other = f"a volume of {size} would have {voxels:.2g} voxels", "coarser"
    elif (np.asarray(spacing) > COARSEST * extent).any():
        what, other = f"a volume is only {size} large", "finer"
    else:
        return
    raise UsageError(f"At a spacing of {lengths_text(spacing[::-1])} {what}.", f"Choose a {other} spacing.")


def prepare(volume: Volume, grid: Geometry, normalization: str = "percentiles") -> torch.Tensor:
    """The volume on ``grid``, normalized as in a model's card: ``(C, Z, Y, X)`` float32.

    Where the grid is coarser than the volume, that is blurred first, against aliasing.
    """
    return NORMALIZE[normalization](torch.from_numpy(on_grid(volume, grid)))


def on_grid(volume: Volume, grid: Geometry) -> np.ndarray:
    """The volume's own gray values ``(C, Z, Y, X)`` float32 on ``grid``, blurred first where that is coarser."""
    array = volume.array
    if volume.geometry != grid:
        deviations = _deviations(volume.geometry, grid)
        channels = []
        for channel in volume.array:
            values = channel.astype(np.float32, copy=False)
            if max(deviations) > 0:
                values = ndimage.gaussian_filter(values, deviations, mode="nearest")
            channels.append(resample(values, volume.geometry, grid))
        array = np.stack(channels)
    return np.ascontiguousarray(array, dtype=np.float32)


def _deviations(source: Geometry, grid: Geometry) -> list[float]:
    """Standard deviations (voxels) that widen a voxel of ``source`` to one of ``grid``, for each axis of ``source``.

    See Cardoso et al. 2015, Scale factor point spread function matching; 0 where the grid is not coarser.
    """
    turn = np.abs(np.linalg.inv(source.affine()[:3, :3]) @ grid.affine()[:3, :3])
    ratios = turn.max(1)  # how many voxels of the source a voxel of the grid is wide
    return [float(np.sqrt(max(0.0, ratio**2 - 1)) / BLUR) if ratio > 1.01 else 0.0 for ratio in ratios]


def labels_on(probabilities: torch.Tensor, grid: Geometry, target: Geometry) -> np.ndarray:
    """The most probable class (uint8) at every voxel of ``target``, from ``probabilities`` (K, Z, Y, X) on ``grid``.

    Works through the target in slabs, so that memory stays bounded.
    """
    if grid == target:
        return probabilities.argmax(0).numpy().astype(np.uint8)
    wide, padded = _widened(probabilities, grid)
    labels = np.zeros(target.shape, np.uint8)
    depth, height, width = target.shape
    step = max(1, SLAB_VOXELS // (height * width))
    for start in range(0, depth, step):
        part = target.crop((slice(start, min(start + step, depth)), slice(0, height), slice(0, width)))
        best = resample(padded[0], wide, part)
        for label, values in enumerate(padded[1:], start=1):
            there = resample(values, wide, part)
            wins = there > best
            labels[start : start + step][wins] = label
            best = np.maximum(best, there)
    return labels


def probabilities_on(probabilities: torch.Tensor, grid: Geometry, target: Geometry) -> torch.Tensor:
    """Class probabilities ``(K, Z, Y, X)`` on ``target``, from those on ``grid``; background outside of that."""
    wide, padded = _widened(probabilities, grid)
    found = torch.from_numpy(np.stack([resample(values, wide, target) for values in padded]))
    found[0] = (1 - found[1:].sum(0)).clamp(min=0)
    return found


def _widened(probabilities: torch.Tensor, grid: Geometry) -> tuple[Geometry, list[np.ndarray]]:
    """A grid of one voxel more on every side, and each class's values there, so that border voxels have neighbors."""
    wide = grid.crop(tuple(slice(-1, size + 1) for size in grid.shape))  # type: ignore[arg-type]
    return wide, [np.pad(values, 1, mode="edge") for values in probabilities.numpy()]
