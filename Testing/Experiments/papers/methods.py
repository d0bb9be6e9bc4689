"""Helpers of the experiments with the papers' methods: steps that fit the time, data, folds, tables."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from Benchmarks.shared.rows import Table

from SparseSegLib.augmentation import Augmentation, cut, random_places, vary_gray
from SparseSegLib.errors import FileError
from SparseSegLib.image.intensity import normalize
from SparseSegLib.io import read_labels, read_volume

TRAINING_SHARE = 0.8  # of the time that is given; the rest is for scoring
HIPPOCAMPUS = (40, 56, 40)  # (z, y, x) voxels that contain all of them


@dataclass(frozen=True)
class LabeledVolume:
    """A volume ``(C, Z, Y, X)`` float32 and its labels ``(Z, Y, X)`` uint8."""

    name: str
    image: torch.Tensor
    labels: np.ndarray


def add_common_arguments(parser: argparse.ArgumentParser, output: str, minutes: float = 25.0) -> None:
    """Declare how long, on what, and where to write."""
    parser.add_argument("--minutes", type=float, default=minutes, help="for everything, on an idle machine")
    parser.add_argument("--steps", type=int, help="of each training, instead of as many as fit")
    parser.add_argument("--full", action="store_true", help="the paper's sizes, for a GPU")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--report", action="store_true", help="only write the report of what was measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output") / output)


def fitting_steps(kinds: Sequence[Callable[[], object]], trainings: int, minutes: float, least: int = 20) -> int:
    """How many steps fit into each of so many ``trainings``, as many of each kind; ``kinds`` are their steps."""
    seconds = sum(map(seconds_a_step, kinds)) / len(kinds)
    steps = max(least, int(TRAINING_SHARE * 60 * minutes / trainings / seconds))
    print(f"{trainings} trainings of {steps} steps, {seconds:.2f} s each", flush=True)
    return steps


def seconds_a_step(step: Callable[[], object]) -> float:
    """The mean over two seconds, or three steps, after a first one."""
    step()
    begin, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - begin < 2:
        step()
        count += 1
    return (time.perf_counter() - begin) / count


def steps_of(results: Table, given: int | None, measure: Callable[[], int]) -> int:
    """Steps as given, as in the rows that are there already, or as many as ``measure`` returns."""
    there = results.rows()
    return given or (int(there[0]["steps"]) if there else measure())


def write_table(path: Path, text: str) -> None:
    """Write a table as Markdown, and print it."""
    path.write_text(text + "\n", encoding="utf-8")
    print(text)


def table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers with three digits."""
    texts = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(head), ["---"] * len(head), *texts])


def read_hippocampus(folder: Path, count: int) -> list[LabeledVolume]:
    """The first ``count`` volumes of a folder with images/ and labels/; 1 is the anterior part, 2 the posterior."""
    files = sorted((folder / "images").glob("*.nii.gz"))[:count]
    if not files:
        raise FileError(
            f"There are no volumes in {folder / 'images'}.", "Give the folder that holds images and labels."
        )
    found = []
    for file in files:
        labels, _, _ = read_labels(folder / "labels" / file.name)
        image = normalize(torch.from_numpy(read_volume(file).array))
        found.append(LabeledVolume(file.name, image, labels.astype(np.uint8)))
    return found


def folds(count: int, parts: int) -> list[list[int]]:
    """Numbers 0 to ``count`` − 1 dealt out to so many parts."""
    return [list(range(part, count, parts)) for part in range(parts)]


def drawn_volume(
    case: LabeledVolume,
    generator: torch.Generator,
    settings: Augmentation | None = None,
    size: tuple[int, int, int] = HIPPOCAMPUS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of one volume, or of its middle, turned and bent at random: ``(1, C, *size)`` and labels ``(1, *size)``.

    ``size`` is (z, y, x) voxels.
    """
    settings = settings or Augmentation(flips=False, deformation_deviation=0)
    center = (torch.tensor(case.labels.shape, dtype=torch.float32) - 1)[None] / 2
    places = random_places(center, size, settings, generator)
    device = generator.device
    image, labels = cut(case.image.to(device), torch.from_numpy(case.labels).to(device), places)
    return vary_gray(image, settings, generator), labels


@torch.inference_mode()
def segment(network: torch.nn.Module, case: LabeledVolume, device: torch.device) -> np.ndarray:
    """Labels ``(Z, Y, X)`` that a padded network finds in one pass."""
    return network(case.image[None].to(device)).argmax(1)[0].cpu().numpy().astype(np.uint8)
