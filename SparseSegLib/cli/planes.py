"""``sparseseg planes``: which slices of a labels file count as annotated."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.annotation import UNLABELED, read_sparse_labels
from SparseSegLib.cli.console import Console

NAME = "planes"
SUMMARY = "show the annotated slices of a labels file"
DESCRIPTION = """\
Show which slices of a labels file count as annotated (every voxel on them is labeled), what is on them, and how much
is labeled in all. Files with a .planes.json beside them say it themselves; in others the slices are found."""
AXES = ("axial (z)", "coronal (y)", "sagittal (x)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("labels", type=Path, help="labels: .seg.nrrd, .nrrd, .nii.gz, .mha")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Print one line per plane."""
    labels = read_sparse_labels(arguments.labels)
    names = ["background", *labels.names]
    rows: list[dict[str, Any]] = []
    for plane in labels.planes:
        drawn = np.take(labels.array, plane.index, plane.axis)
        there = [int(value) for value in np.unique(drawn) if value not in (0, UNLABELED)]
        rows.append(
            {
                "axis": "zyx"[plane.axis],
                "index": plane.index,
                "offset_mm": round(plane.offset_mm(labels.geometry), 3),
                "segments": [names[value] if value < len(names) else str(value) for value in there],
            }
        )
    share = float(labels.labeled.mean())
    strokes = int(labels.strokes.sum())
    values = {
        "planes": rows,
        "oblique": [asdict(pose) for pose in labels.oblique],
        "labeled_share": share,
        "scribble_voxels": strokes,
        "names": list(labels.names),
    }
    lines = [f"{'orientation':14}{'slice':>6}{'mm':>10}  segments"]
    lines += [
        f"{AXES['zyx'.index(row['axis'])]:14}{row['index']:>6}{row['offset_mm']:>10.1f}  {', '.join(row['segments'])}"
        for row in rows
    ]
    lines += [f"{'oblique':14}{'':16}  normal {pose.normal} through {pose.point} (LPS mm)" for pose in labels.oblique]
    count = len(rows) + len(labels.oblique)
    lines.append(f"{count} annotated slices, {strokes} scribbled voxels, {share:.1%} of all voxels labeled")
    console.result(values, "\n".join(lines))
