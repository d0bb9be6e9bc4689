"""Real volumes to learn from, out of a folder of development volumes; nothing that any table judges by is among them.

Sarcomas on T1 MR but those of patients 1, 4 and 8 (two are measured on, one comes with SparseSeg), prostates of
PROSTATEx and organs of a CT series with other models' masks. None has a share-alike license.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from Experiments.pretraining.real_volumes import read_pair
from Experiments.synthesis.worlds import World

KEPT_FOR_OTHERS = ("STS_001", "STS_004", "STS_008")
ORGAN_VOXELS = 150
SHARES = (0.4, 0.25, 0.35)  # of sarcomas, prostates and organs


def real_world(data: Path, rng: np.random.Generator) -> World:
    """A real volume, its gray values changed at random, its axes exchanged now and then."""
    kinds: tuple[Callable[[Path, np.random.Generator], World], ...] = (_sarcoma, _prostate, _organs)
    world = kinds[int(rng.choice(len(kinds), p=SHARES))](data, rng)
    low, high = np.percentile(world.image, (1, 99))
    image = np.clip((world.image - low) / max(high - low, 1e-6), 0, 1) ** np.exp(rng.normal(0, 0.3))
    image = image if rng.random() < 0.7 else 1 - image
    image = image + 0.15 * rng.uniform() * rng.uniform() * rng.standard_normal(image.shape)
    order = rng.permutation(3) if rng.random() < 0.5 else np.arange(3)
    z, y, x = (float(world.spacing[axis]) for axis in order)
    labels = np.ascontiguousarray(world.labels.transpose(order))
    return World(world.kind, image[0].transpose(order)[None].astype(np.float32), labels, (z, y, x))


def files_of(data: Path) -> list[Path]:
    """The images that are learned from: files, and the folder of the series."""
    tumors = [file for file in sorted((data / "sarcoma").glob("*_t1.nii.gz")) if not _is_kept(file)]
    return [*tumors, *sorted((data / "prostate").glob("px_*_t2.nii.gz")), data / "ct_abdomen" / "dicom"]


def _is_kept(file: Path) -> bool:
    return file.name.startswith(KEPT_FOR_OTHERS)


def _sarcoma(data: Path, rng: np.random.Generator) -> World:
    files = [file for file in files_of(data) if file.name.endswith("_t1.nii.gz")]
    file = files[rng.integers(len(files))]
    image, labels, spacing = read_pair(file, file.with_name(file.name.replace("_t1", "_tumor")))
    return World("sarcoma", image[None], (labels > 0).astype(np.uint8), spacing)


def _prostate(data: Path, rng: np.random.Generator) -> World:
    files = [file for file in files_of(data) if file.name.startswith("px_")]
    file = files[rng.integers(len(files))]
    image, labels, spacing = read_pair(file, file.with_name(file.name.replace("_t2", "_pseudo_prostate")))
    return coarser(World("prostate", image[None], (labels > 0).astype(np.uint8), spacing), int(rng.integers(2, 4)))


def _organs(data: Path, rng: np.random.Generator) -> World:
    """One organ or some, in a random window of gray values at times."""
    folder = data / "ct_abdomen"
    image, labels, spacing = read_pair(folder / "dicom", folder / "dicom_organs.nii.gz")
    step = int(rng.integers(3, 5))
    counts = np.bincount(labels[:, ::step, ::step].ravel(), minlength=256)
    there = np.flatnonzero(counts > ORGAN_VOXELS)
    chosen = rng.choice(there[there > 0], int(rng.choice((1, 1, 1, 2, 3))), replace=False)
    drawn = np.zeros(labels.shape, np.uint8)
    for number, organ in enumerate(chosen, start=1):
        drawn[labels == organ] = number
    if rng.random() < 0.6:
        middle, width = rng.uniform(0, 120), rng.uniform(100, 600)
        image = np.clip(image, middle - width / 2, middle + width / 2)
    return coarser(World("CT organs", image[None], drawn, spacing), step)


def coarser(world: World, step: int) -> World:
    """The mean over ``step`` × ``step`` pixels of each slice, and the label in their middle."""
    count, depth, height, width = world.image.shape
    rows, columns = height // step * step, width // step * step
    parts = world.image[:, :, :rows, :columns].reshape(count, depth, rows // step, step, columns // step, step)
    labels = world.labels[:, step // 2 : rows : step, step // 2 : columns : step]
    z, y, x = world.spacing
    return World(world.kind, parts.mean((3, 5)), labels, (z, y * step, x * step))
