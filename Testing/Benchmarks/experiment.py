"""What the benchmarks share: which volumes, which annotation, how a segmentation is scored."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from volumes import Case, development_cases

from SparseSegLib.annotation import SparseLabels, sparsify, sparsify_every
from SparseSegLib.evaluation import iou
from SparseSegLib.resources import sample_data
from SparseSegLib.volume import Volume

NAMES = ("object",)


def add_volume_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which volumes to run on."""
    parser.add_argument("--data", type=Path, help="folder with the usual development volumes")
    parser.add_argument(
        "--volume",
        action="append",
        default=[],
        metavar="NAME=IMAGE,LABELS[,VALUES]",
        help="a volume of your own; without any, and without --data, the MR volume that comes with SparseSeg",
    )


def chosen_cases(arguments: argparse.Namespace) -> list[Case]:
    """The volumes that the arguments name."""
    cases = development_cases(arguments.data) if arguments.data else []
    cases += [Case.parse(text) for text in arguments.volume]
    return cases or [shipped_case()]


def shipped_case() -> Case:
    """The MR volume and its white matter that come with SparseSeg."""
    return Case("white matter", sample_data("mni152_t1.nrrd"), sample_data("mni152_white_matter.nrrd"))


def annotate(truth: np.ndarray, volume: Volume, budget: str) -> SparseLabels:
    """The annotation of a budget: ``x,y,z`` slices per axis, or ``everyK`` axial slices."""
    if budget.startswith("every"):
        return sparsify_every(truth, volume.geometry, int(budget[5:]), names=NAMES)
    x, y, z = map(int, budget.split(","))
    return sparsify(truth, volume.geometry, (z, y, x), names=NAMES)


def unseen_iou(segmented: np.ndarray, truth: np.ndarray, labels: SparseLabels) -> float:
    """IoU of the objects on the voxels that are not labeled, to four digits."""
    unseen = ~labels.labeled
    return round(iou((segmented > 0) & unseen, (truth > 0) & unseen), 4)
