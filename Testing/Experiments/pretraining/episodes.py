"""Training episodes for densify: a volume with its truth, a few annotated slices, and the prior of others.

Two thirds of the volumes are generated (``Experiments.synthesis.scenes``); the others are real ones out of the folder
with the usual development volumes, none of which any benchmark evaluates on: all hippocampi but those that are named in
``EVALUATED``, prostates with another model's masks but the one that is named there, the 20-slice CT, electron
microscopy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from Experiments.pretraining.real_volumes import read_pair
from Experiments.synthesis.scenes import Scene, random_scene
from skimage.io import imread

from SparseSegLib.annotation import SparseLabels, sparsify, sparsify_every
from SparseSegLib.densify.experts.pretrained import NEIGHBORS
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.densify.slice_features import SliceFeatures
from SparseSegLib.errors import SparseSegError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.prior import USUAL_PARTS, PlaneSource

EVALUATED = ("hippocampus_001", "hippocampus_310", "nci_0", "promise12_demo0")
REAL = 0.35  # fraction of the episodes
UNSEEN, SEEN = 16, 4  # slices of an episode: without annotation, and with it, as a training sees them
FEWEST, MOST_SHARE, MOST_VOXELS = 200, 0.7, 400_000
SLICES = ((1, 1, 1), (1, 1, 1), (2, 2, 1), (2, 2, 1), (3, 3, 2), (3, 3, 2), (5, 5, 3), (2, 2, 2), (1, 1, 0), (3, 0, 0))
EVERY = 0.25  # fraction of the episodes with parallel slices only
ORGAN_VOXELS = 150


@dataclass(frozen=True, eq=False)
class Episode:
    """Slices of one volume: ``inputs`` (C, U, V) float16 as the slice learner makes them, ``labels`` (U, V) uint8."""

    kind: str
    inputs: list[torch.Tensor]
    labels: list[torch.Tensor]


def make_episode(number: int, data: Path | None) -> Episode:
    """Episode ``number``, the same each time; without ``data`` of a generated volume."""
    rng = np.random.default_rng(number)
    while True:
        scene = _real_scene(data, rng) if data is not None and rng.random() < REAL else random_scene(rng)
        if scene.structure.sum() < FEWEST or scene.structure.mean() > MOST_SHARE:
            continue
        try:
            geometry = Geometry(scene.image.shape, scene.spacing)
            labels = _annotate(scene.structure.astype(np.uint8), geometry, rng)
            problem = make_problem(Volume(scene.image[None], geometry), labels, 0.1, MOST_VOXELS)
        except SparseSegError:  # slices that miss the structure, for instance
            continue
        if not problem.in_parts:
            return _cut(scene, problem, rng)


def _annotate(truth: np.ndarray, geometry: Geometry, rng: np.random.Generator) -> SparseLabels:
    if rng.random() < EVERY:
        return sparsify_every(truth, geometry, int(rng.integers(4, 9)), names=("object",))
    counts = SLICES[rng.integers(len(SLICES))]
    z, y, x = (int(counts[axis]) for axis in rng.permutation(3))
    return sparsify(truth, geometry, (z, y, x), names=("object",))


def _cut(scene: Scene, problem: Problem, rng: np.random.Generator) -> Episode:
    """Random slices as a prediction sees them, and some of the annotated ones as a training does."""
    features = SliceFeatures(problem, USUAL_PARTS, NEIGHBORS)
    prior = features.prior
    truth = torch.from_numpy(scene.structure[problem.box].astype(np.uint8))
    views = []
    for _ in range(UNSEEN):
        axis = features.axes[rng.integers(len(features.axes))]
        views.append((axis, int(rng.integers(prior.shape[axis])), prior.everything))
    for number, source in enumerate(prior.sources[:SEEN]):
        if isinstance(source, PlaneSource) and len(prior.sources) > 1:
            views.append((source.axis, source.index, prior.without({number})))
    inputs, labels = [], []
    for axis, index, keep in views:
        view = features.view(axis, index)
        inputs.append(features.of(view, keep).half())
        labels.append(view.cut(truth).clone())
    return Episode(scene.kind, inputs, labels)


def _real_scene(data: Path, rng: np.random.Generator) -> Scene:
    """A real volume, its gray values changed at random, its axes exchanged now and then."""
    kinds: Sequence[Callable[[Path, np.random.Generator], Scene]] = (_hippocampus, _prostate, _cells, _organ)
    scene = kinds[int(rng.choice(len(kinds), p=(0.5, 0.2, 0.1, 0.2)))](data, rng)
    low, high = np.percentile(scene.image, (1, 99))
    image = np.clip((scene.image - low) / max(high - low, 1e-6), 0, 1) ** np.exp(rng.normal(0, 0.3))
    image = image if rng.random() < 0.7 else 1 - image
    order = rng.permutation(3) if rng.random() < 0.5 else np.arange(3)
    z, y, x = (float(scene.spacing[axis]) for axis in order)
    image, structure = (np.ascontiguousarray(part.transpose(order)) for part in (image, scene.structure))
    return Scene(scene.kind, image.astype(np.float32), structure, (z, y, x))


def _hippocampus(data: Path, rng: np.random.Generator) -> Scene:
    files = _free(sorted((data / "hippocampus" / "images").glob("*.nii.gz")))
    file = files[rng.integers(len(files))]
    image, labels, spacing = read_pair(file, data / "hippocampus" / "labels" / file.name)
    part = rng.random()
    structure = labels > 0 if part < 0.5 else labels == (1 if part < 0.75 else 2)
    return Scene("hippocampus", image, structure, spacing)


def _prostate(data: Path, rng: np.random.Generator) -> Scene:
    files = _free(sorted((data / "prostate").glob("*_t2.nii.gz")))
    file = files[rng.integers(len(files))]
    image, labels, spacing = read_pair(file, file.with_name(file.name.replace("_t2", "_pseudo_prostate")))
    return _coarser(Scene("prostate", image, labels > 0, spacing), int(rng.integers(2, 4)))


def _organ(data: Path, rng: np.random.Generator) -> Scene:
    image, labels, spacing = read_pair(data / "ct_abdomen" / "dicom", data / "ct_abdomen" / "dicom_organs.nii.gz")
    step = 4
    values, counts = np.unique(labels[:, ::step, ::step], return_counts=True)
    organ = rng.choice(values[(values > 0) & (counts > ORGAN_VOXELS)])
    if rng.random() < 0.5:
        middle, width = rng.uniform(0, 120), rng.uniform(100, 600)
        image = np.clip(image, middle - width / 2, middle + width / 2)
    return _coarser(Scene("organ", image, labels == organ, spacing), step)


def _cells(data: Path, rng: np.random.Generator) -> Scene:
    image, inside = _read_cells(data)
    step, depth = int(rng.integers(2, 4)), int(rng.integers(8, 24))
    first = int(rng.integers(len(image) - depth + 1))
    row, column = rng.integers(image.shape[1] - 90 * step, size=2)
    window = (slice(first, first + depth), slice(row, row + 90 * step), slice(column, column + 90 * step))
    structure = inside[window] if rng.random() < 0.5 else ~inside[window]
    return _coarser(Scene("cells", image[window], structure, (12.0, 1.0, 1.0)), step)


def _free(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if not file.name.startswith(EVALUATED)]


@cache
def _read_cells(data: Path) -> tuple[np.ndarray, np.ndarray]:
    def stack(name: str) -> np.ndarray:
        files = (data / "isbi_em" / name).iterdir()
        return np.stack([imread(file) for file in sorted(files, key=lambda file: (len(file.name), file.name))])

    return stack("image").astype(np.float32), stack("label") > 0


def _coarser(scene: Scene, step: int) -> Scene:
    """The mean over ``step`` × ``step`` pixels of each slice, and the label in their middle."""
    depth, height, width = scene.image.shape
    rows, columns = height // step * step, width // step * step
    image = scene.image[:, :rows, :columns].reshape(depth, rows // step, step, columns // step, step).mean((2, 4))
    structure = scene.structure[:, step // 2 : rows : step, step // 2 : columns : step]
    z, y, x = scene.spacing
    return Scene(scene.kind, image, structure, (z, y * step, x * step))
