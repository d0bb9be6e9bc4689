"""An unsupervised map of the tissues in a real volume: gray values that are alike, in smooth regions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.cluster.vq import kmeans2

SAMPLE = 20_000  # voxels that the classes are found from
SMOOTHING_MM = 1.5
LEAST_INSIDE = 50  # voxels of a structure that is parted into zones


def tissue_map(
    image: np.ndarray,
    target: np.ndarray,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
    around: int = 10,
    inside: int = 2,
) -> np.ndarray:
    """Classes of gray value (k-means of the smoothed image), of their own inside the structure and around it.

    Takes the place of the segmented tissues in SynthSeg (Billot et al. 2023, section 3.1), which nobody outlined here.

    Parameters
    ----------
    image : (Z, Y, X) float32, normalized
    target : (Z, Y, X) bool, the structure
    spacing : (z, y, x) mm
    around, inside : how many classes, in order of their gray values

    Returns
    -------
    (Z, Y, X) uint8: 0 to ``around`` − 1 around the structure, the following ``inside`` within.
    """
    smooth = ndimage.gaussian_filter(image, [SMOOTHING_MM / step for step in spacing], mode="nearest")
    tissues = np.zeros(image.shape, np.uint8)
    tissues[~target] = _classes(smooth[~target], around, rng)
    if target.any():
        tissues[target] = around + _classes(smooth[target], inside if target.sum() >= LEAST_INSIDE else 1, rng)
    return tissues


def _classes(values: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The class of each value, 0 for the lowest."""
    sample = rng.choice(values, min(SAMPLE, values.size), replace=False).astype(float)
    start = np.quantile(sample, (np.arange(count) + 0.5) / count)
    means, _ = kmeans2(sample, np.unique(start), minit="matrix")
    return np.searchsorted((means[1:] + means[:-1]) / 2, values)
