"""Random forest, from scikit-image's features and scikit-learn."""

from __future__ import annotations

import numpy as np

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.image import Box

MOST_SAMPLES = 100_000
COARSEST_SCALE = 16  # voxels; also how far features look beyond the region
CHUNK = 500_000


def random_forest(
    image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float], region: Box
) -> np.ndarray:
    """A random forest on scikit-image's multi-scale features (intensity, edges, texture), as pixel classifiers do it.

    Features are computed in three dimensions at scales of 1 to 16 voxels, from the image around the region too; at
    most 100 000 labeled voxels are learned from, with balanced classes and fully grown trees.
    """
    from sklearn.ensemble import RandomForestClassifier

    table = _features(image, region)
    drawn = labels[region].ravel()
    labeled = np.flatnonzero(drawn != UNLABELED)
    if labeled.size > MOST_SAMPLES:
        labeled = np.random.default_rng(0).choice(labeled, MOST_SAMPLES, replace=False)
    forest = RandomForestClassifier(n_estimators=60, class_weight="balanced", n_jobs=2, random_state=0)
    forest.fit(table[labeled], drawn[labeled])
    out = drawn.copy()
    unlabeled = np.flatnonzero(drawn == UNLABELED)
    for start in range(0, unlabeled.size, CHUNK):  # the class probabilities of all voxels at once take gigabytes
        part = unlabeled[start : start + CHUNK]
        out[part] = forest.predict(table[part])
    return out.reshape(labels[region].shape)


def _features(image: np.ndarray, region: Box) -> np.ndarray:
    """Features of the region's voxels, ``(voxels, features)`` float32."""
    from skimage.feature import multiscale_basic_features

    starts = [max(0, side.start - COARSEST_SCALE) for side in region]
    around = tuple(slice(start, side.stop + COARSEST_SCALE) for start, side in zip(starts, region, strict=True))
    inside = tuple(slice(side.start - start, side.stop - start) for start, side in zip(starts, region, strict=True))
    wide = np.asarray(image[around], np.float32)
    features = multiscale_basic_features(wide, sigma_min=1, sigma_max=COARSEST_SCALE)[inside]
    return features.reshape(-1, features.shape[-1])
