"""What the benchmarks share: which volumes, which annotation, how a segmentation is scored."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from volumes import Case, development_cases, special_cases

from SparseSegLib.annotation import SparseLabels, sparsify, sparsify_every
from SparseSegLib.evaluation import iou
from SparseSegLib.resources import sample_data
from SparseSegLib.volume import Volume


def add_volume_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which volumes to run on."""
    parser.add_argument("--data", type=Path, help="folder with the usual development volumes")
    special = "instead of the usual ones: several classes, thick slices, several pieces, at the border"
    parser.add_argument("--special", action="store_true", help=special)
    parser.add_argument("--cases", nargs="+", metavar="NAME", help="of the volumes in --data, only these")
    parser.add_argument(
        "--volume",
        action="append",
        default=[],
        metavar="NAME=IMAGE,LABELS[,VALUES]",
        help="a volume of your own; without any, and without --data, the MR volume that comes with SparseSeg",
    )


def chosen_cases(arguments: argparse.Namespace) -> list[Case]:
    """The volumes that the arguments name."""
    cases = []
    if arguments.data:
        cases = special_cases(arguments.data) if arguments.special else development_cases(arguments.data)
        cases = [case for case in cases if not arguments.cases or case.name in arguments.cases]
    cases += [Case.parse(text) for text in arguments.volume]
    return cases or [shipped_case()]


def shipped_case() -> Case:
    """The MR volume and its white matter that come with SparseSeg."""
    return Case("white matter", sample_data("mni152_t1.nrrd"), sample_data("mni152_white_matter.nrrd"))


def annotate(truth: np.ndarray, volume: Volume, budget: str) -> SparseLabels:
    """The annotation of a budget: ``x,y,z`` slices per axis, or ``everyK`` axial slices."""
    names = names_of(truth)
    if budget.startswith("every"):
        return sparsify_every(truth, volume.geometry, int(budget[5:]), names=names)
    x, y, z = map(int, budget.split(","))
    return sparsify(truth, volume.geometry, (z, y, x), names=names)


def names_of(truth: np.ndarray) -> tuple[str, ...]:
    """What the objects are called."""
    return tuple(f"object {number}" for number in range(1, int(truth.max()) + 1))


def unseen_iou(segmented: np.ndarray, truth: np.ndarray, labels: SparseLabels) -> float:
    """IoU on the voxels that are not labeled, mean over the objects, to four digits."""
    unseen = ~labels.labeled
    objects = range(1, int(truth.max()) + 1)
    return round(float(np.mean([iou((segmented == k) & unseen, (truth == k) & unseen) for k in objects])), 4)
