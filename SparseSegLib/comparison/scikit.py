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
    from skimage.segmentation import random_walker as walk

    step = 1
    while image.size / step**3 > MOST_VOXELS:
        step += 1
    middle = step // 2
    coarse = (slice(middle, None, step),) * 3
    low, high = np.percentile(image, [1, 99])
    grey = np.clip((image[coarse] - low) / max(high - low, 1e-9), 0, 1)
    seeds = np.where(labels[coarse] == UNLABELED, 0, labels[coarse].astype(np.int16) + 1)
    for plane in range(labels.shape[0] if step > 1 else 0):
        seeds[plane // step % seeds.shape[0]] = np.where(
            labels[plane, middle::step, middle::step] == UNLABELED,
            seeds[plane // step % seeds.shape[0]],
            labels[plane, middle::step, middle::step].astype(np.int16) + 1,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        walked = walk(grey, seeds, beta=500, mode="cg_j", tol=1e-2, spacing=np.array(spacing) / min(spacing)) - 1
    if step == 1:
        return walked.astype(np.uint8)
    full = np.repeat(np.repeat(np.repeat(walked, step, 0), step, 1), step, 2)
    padding = [(0, max(0, size - have)) for size, have in zip(labels.shape, full.shape, strict=True)]
    full = np.pad(full, padding, mode="edge")
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
