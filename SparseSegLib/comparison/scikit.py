"""Random walker and random forest, from scikit-image and scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.errors import DependencyError

MOST_VOXELS = 4_000_000
MOST_SAMPLES = 100_000


def random_walker(image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Random walker segmentation (Grady 2006) seeded with all labeled voxels."""
    from skimage.measure import block_reduce
    from skimage.segmentation import random_walker as walk

    step = 1
    while image.size / step**3 > MOST_VOXELS:
        step += 1
    coarse = np.ix_(*(np.minimum(np.arange(0, size, step) + step // 2, size - 1) for size in image.shape))
    low, high = np.percentile(image, [1, 99])
    grey = np.clip((image[coarse] - low) / max(high - low, 1e-9), 0, 1)
    sampled = labels[coarse]
    if step > 1:  # a plane that falls between the samples must not be lost
        sampled = np.where(sampled == UNLABELED, block_reduce(labels, step, np.min, cval=UNLABELED), sampled)
    seeds = np.where(sampled == UNLABELED, 0, sampled.astype(np.int16) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        walked = walk(grey, seeds, beta=500, mode="cg_j", tol=1e-2, spacing=np.array(spacing) / min(spacing)) - 1
    if step == 1:
        return walked.astype(np.uint8)
    full = np.repeat(np.repeat(np.repeat(walked, step, 0), step, 1), step, 2)
    return full[tuple(slice(0, size) for size in labels.shape)].astype(np.uint8)


def random_forest(image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """A random forest on scikit-image's multi-scale features (intensity, edges, texture), as pixel classifiers do it.

    Features are computed in three dimensions at scales of 1 to 8 voxels; at most 100 000 labeled voxels are learned
    from, with balanced classes.
    """
    from skimage.feature import multiscale_basic_features

    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError as error:
        raise DependencyError(
            "scikit-learn is not installed.", 'Install it with: pip install "SparseSegLib[compare]"'
        ) from error
    features = multiscale_basic_features(image.astype(np.float32), sigma_min=1, sigma_max=8)
    labeled = np.flatnonzero(labels.ravel() != UNLABELED)
    if labeled.size > MOST_SAMPLES:
        labeled = np.random.default_rng(0).choice(labeled, MOST_SAMPLES, replace=False)
    table = features.reshape(-1, features.shape[-1])
    forest = RandomForestClassifier(
        n_estimators=60, max_depth=18, min_samples_leaf=4, class_weight="balanced", n_jobs=2, random_state=0
    )
    forest.fit(table[labeled], labels.ravel()[labeled])
    return forest.predict(table).astype(np.uint8).reshape(labels.shape)
