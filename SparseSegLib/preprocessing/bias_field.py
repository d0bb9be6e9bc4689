"""The bias field of an MR volume: the slow change of brightness that comes from the coils, not from the tissue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from SparseSegLib.image import Geometry, Volume

VOXELS = 20_000  # that the field is estimated from: about a second
ITERATIONS = (50, 50, 50)  # at most, one number for each level of detail
CONVERGENCE = 1e-3
HISTOGRAM_BINS = 200
LEAST = 4  # voxels along an axis of the shrunk copy


def correct_bias_field(volume: Volume) -> Volume:
    """Divide each channel by its bias field (N4, Tustison et al. 2010), as Milletari et al. 2016 do in section 4.

    A volume of CT, or one that is corrected already, needs none of this. Takes about a second whatever the size: the
    field is estimated on a shrunk copy and evaluated at full size, so that no detail of the image is lost.

    Parameters
    ----------
    volume : (C, Z, Y, X), finite

    Returns
    -------
    The volume with float32 voxels; a channel without anything brighter than zero stays as it is.
    """
    channels = [channel / bias_field(channel, volume.geometry) for channel in volume.array.astype(np.float32)]
    return replace(volume, array=np.stack(channels))


def bias_field(channel: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The factor (Z, Y, X) float32 by which each voxel of a ``channel`` (Z, Y, X) is too bright.

    Estimated from the foreground: what is above Otsu's threshold, and above zero.
    """
    image = geometry.to_sitk(channel.astype(np.float32, copy=False))
    small = sitk.Shrink(image, _factors(geometry))
    mask = sitk.And(sitk.OtsuThreshold(small, 0, 1, HISTOGRAM_BINS), small > 0)
    if not sitk.GetArrayViewFromImage(mask).any():
        return np.ones(geometry.shape, np.float32)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(ITERATIONS)
    corrector.SetConvergenceThreshold(CONVERGENCE)
    corrector.Execute(small, mask)
    return np.exp(sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image)), dtype=np.float32)


def _factors(geometry: Geometry) -> list[int]:
    """Shrink factors along x, y, z, such that the shrunk copy's voxels are about cubes."""
    shape, spacing = np.array(geometry.shape), np.array(geometry.spacing)
    side = (np.prod(shape * spacing) / VOXELS) ** (1 / 3)
    factors = np.minimum(np.round(side / spacing), shape // LEAST)
    return [int(factor) for factor in np.maximum(factors, 1)[::-1]]
