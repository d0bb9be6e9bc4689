"""Random forest, from scikit-image's features and scikit-learn."""

from __future__ import annotations

import numpy as np

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.image import Box

MOST_SAMPLES = 100_000
COARSEST_SCALE = 16  # voxels; also how far features look beyond the region
CHUNK = 500_000
SLAB_VOXELS = 20_000_000
"""Voxels whose features are in memory at once: 2 GB, and as much again while they are computed."""


def random_forest(
    image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float], region: Box
) -> np.ndarray:
    """A random forest on scikit-image's multi-scale features (intensity, edges, texture), as pixel classifiers do it.

    Features are computed in three dimensions at scales of 1 to 16 voxels, from the image around the region too; at
    most 100 000 labeled voxels are learned from, with balanced classes and fully grown trees. A large region is worked
    on slab by slab.
    """
    from sklearn.ensemble import RandomForestClassifier

    slabs = _slabs(region)
    drawn = labels[region]
    labeled = np.flatnonzero(drawn != UNLABELED)
    if labeled.size > MOST_SAMPLES:
        labeled = np.random.default_rng(0).choice(labeled, MOST_SAMPLES, replace=False)
    table = _features(image, slabs[0])
    samples = np.empty((labeled.size, table.shape[1]), np.float32)
    start = 0
    for number, slab in enumerate(slabs):
        table = _features(image, slab) if number else table
        own = (labeled >= start) & (labeled < start + len(table))
        samples[own] = table[labeled[own] - start]
        start += len(table)
    forest = RandomForestClassifier(n_estimators=60, class_weight="balanced", n_jobs=2, random_state=0)
    forest.fit(samples, drawn.ravel()[labeled])
    found = []
    for slab in slabs:
        table = _features(image, slab) if len(slabs) > 1 else table
        out = labels[slab].flatten()
        unlabeled = np.flatnonzero(out == UNLABELED)
        for first in range(0, unlabeled.size, CHUNK):  # the class probabilities of all voxels at once take gigabytes
            part = unlabeled[first : first + CHUNK]
            out[part] = forest.predict(table[part])
        found.append(out.reshape(labels[slab].shape))
    return np.concatenate(found)


def _slabs(region: Box) -> list[Box]:
    """A region in parts along z whose features memory suffices for."""
    z, y, x = region
    depth = max(1, SLAB_VOXELS // ((y.stop - y.start) * (x.stop - x.start)))
    return [(slice(start, min(start + depth, z.stop)), y, x) for start in range(z.start, z.stop, depth)]


def _features(image: np.ndarray, region: Box) -> np.ndarray:
    """Features of the region's voxels, ``(voxels, features)`` float32."""
    from skimage.feature import multiscale_basic_features

    starts = [max(0, side.start - COARSEST_SCALE) for side in region]
    around = tuple(slice(start, side.stop + COARSEST_SCALE) for start, side in zip(starts, region, strict=True))
    inside = tuple(slice(side.start - start, side.stop - start) for start, side in zip(starts, region, strict=True))
    wide = np.asarray(image[around], np.float32)
    features = multiscale_basic_features(wide, sigma_min=1, sigma_max=COARSEST_SCALE)[inside]
    return features.reshape(-1, features.shape[-1])
