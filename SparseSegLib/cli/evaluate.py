"""``sparseseg evaluate``: how well a segmentation agrees with the truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from SparseSegLib.annotation import read_sparse_labels
from SparseSegLib.cli.console import Console
from SparseSegLib.errors import GeometryError
from SparseSegLib.evaluation import evaluate, scores_as_dict, scores_as_table
from SparseSegLib.geometry import place, whole_voxel_offset
from SparseSegLib.io import read_labels

NAME = "evaluate"
SUMMARY = "Dice, IoU and surface distances against a reference"
DESCRIPTION = """\
Compare a segmentation with a reference, label by label: Dice, IoU, Hausdorff distance, its 95th percentile, average
surface distance (all in mm), and the volumes in ml.

  sparseseg evaluate dense.seg.nrrd truth.nrrd
  sparseseg evaluate dense.seg.nrrd truth.nrrd --outside drawn.seg.nrrd     overlap off the annotated slices only"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("segmentation", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--outside", type=Path, metavar="LABELS", help="leave out the voxels labeled in this file")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Print a row per label."""
    truth, geometry, segments = read_labels(arguments.reference)
    found, grid, _ = read_labels(arguments.segmentation)
    if not grid.matches(geometry):
        if whole_voxel_offset(grid, geometry) is None:
            raise GeometryError(
                f"The two do not lie on one grid: {grid.difference(geometry)}.", "Resample one to the other first."
            )
        found = place(found, grid, geometry)
    mask = None
    if arguments.outside:
        mask = ~read_sparse_labels(arguments.outside, geometry).labeled
    names = {info.value: info.name for info in segments}
    scores = evaluate(found, truth, geometry, mask=mask, names=names)
    console.result({"labels": scores_as_dict(scores)}, scores_as_table(scores))
